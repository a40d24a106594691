/** Cards of rows that are made and quantized at once. Results in 16 bits may be left out. */
import type { Float8 } from '../../../ir/number.ts'
import type { Float } from '../../../ir/type.ts'
import {
  at,
  divide,
  elementBytes,
  f32,
  kernel,
  launch,
  macros,
  matrix,
  maybeMatrix,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import { left } from './float8.ts'

/** Octets that a thread holds at most. */
const MOST_KEPT = 4
const MOST_THREADS = 1024

const keptOf = (width: number): number => divide(width / 8, MOST_THREADS)
const threadsOf = (width: number): number => 32 * divide(width / 8 / keptOf(width), 32)

/** Whether the kernels take rows of this width and type. */
export const takesWidth = (width: number, dtype: Float): boolean =>
  dtype !== 'f32' && width % 8 === 0 && keptOf(width) <= MOST_KEPT

interface Made {
  readonly out: Rows
  readonly scales: Place
  readonly rows: number
  readonly width: number
  readonly dtype: Float
  readonly format: Float8
}

const made = (
  name: string,
  o: Made,
  args: ReadonlyArray<Arg>,
  more: ReadonlyArray<Arg>,
  /** 16-bit values read and written, and bytes of 8 bits written, of each element. */
  [moved, quantized]: readonly [number, number],
  flops: number,
): KernelLaunch =>
  launch(
    kernel('float8_rows.cu', name, {
      ...macros(o.dtype),
      ...left(o.format),
      KEPT: keptOf(o.width),
      THREADS: threadsOf(o.width),
    }),
    [o.rows],
    threadsOf(o.width),
    [...args, ...matrix(o.out), at(o.scales), u32(o.width), ...more],
    o.rows * (o.width * (moved * elementBytes[o.dtype] + quantized) + 4),
    flops * o.rows * o.width,
  )

export const swiglu8 = (
  o: Made & { readonly gate: Rows; readonly up: Rows; readonly y: Rows | null },
): KernelLaunch =>
  made(
    'swiglu8',
    o,
    [...matrix(o.gate), ...matrix(o.up), ...maybeMatrix(o.y)],
    [],
    [o.y === null ? 2 : 3, 1],
    7,
  )

/** Both gradients side by side in a row of `out`, from the columns told; they may lie over gate and up. */
export const swigluGrad8 = (
  o: Made & {
    readonly gate: Rows
    readonly up: Rows
    readonly ct: Rows
    readonly grads: { readonly dgate: Rows; readonly dup: Rows } | null
    readonly columns: readonly [gate: number, up: number]
  },
): KernelLaunch =>
  made(
    'swiglu_grad8',
    o,
    [
      ...[o.gate, o.up, o.ct].flatMap(matrix),
      ...maybeMatrix(o.grads?.dgate),
      ...maybeMatrix(o.grads?.dup),
    ],
    o.columns.map(u32),
    [o.grads === null ? 3 : 5, 2],
    14,
  )

export const rmsNorm8 = (
  o: Made & {
    readonly x: Rows
    readonly w: Place
    readonly eps: number
    readonly y: Rows | null
  },
): KernelLaunch =>
  made(
    'rms_norm8',
    o,
    [...matrix(o.x), at(o.w), ...maybeMatrix(o.y)],
    [f32(o.eps)],
    [o.y === null ? 1 : 2, 1],
    6,
  )

/** The gradient by x with `residual` added, in 16 bits too. dx may lie over ct or residual. */
export const rmsNormGrad8 = (
  o: Made & {
    readonly x: Rows
    readonly w: Place
    readonly ct: Rows
    readonly residual: Rows
    readonly dx: Rows
    readonly eps: number
  },
): KernelLaunch =>
  made(
    'rms_norm_grad8',
    o,
    [...matrix(o.x), at(o.w), ...matrix(o.ct), ...matrix(o.residual), ...matrix(o.dx)],
    [f32(o.eps)],
    [4, 1],
    10,
  )
