/** Cards of the cross-entropy over few classes: f32 logits and targets, a block a row. */
import {
  at,
  kernel,
  launch,
  macros,
  matrix,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

interface Classes {
  readonly logits: Rows
  readonly targets: Rows
  readonly rows: number
  /** Logits of a row, and how many classes before them have none: 0 or 1. */
  readonly width: number
  readonly first: number
}

const card = (
  name: string,
  o: Classes,
  more: ReadonlyArray<ReturnType<typeof at>>,
  bytes: number,
): KernelLaunch =>
  launch(
    kernel('classes.cu', name, macros('f32', 'f32')),
    [o.rows],
    128,
    [...matrix(o.logits), ...matrix(o.targets), ...more, u32(o.width), u32(o.first)],
    4 * o.rows * (2 * o.width + o.first + bytes),
    6 * o.rows * o.width,
  )

export const classCrossEntropy = (o: Classes & { readonly out: Place }): KernelLaunch =>
  card('class_cross_entropy', o, [at(o.out)], 1)

export const classCrossEntropyGrad = (
  o: Classes & { readonly ct: Place; readonly out: Rows },
): KernelLaunch => card('class_cross_entropy_grad', o, [at(o.ct), ...matrix(o.out)], o.width + 1)
