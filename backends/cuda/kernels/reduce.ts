/** Cards of reductions: whole tensors in two launches of fixed order, columns over rows in one. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  flat,
  kernel,
  launch,
  matrix,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
  type Shape,
} from './card.ts'

export interface Part extends Shape {
  readonly a: Rows
  readonly dtype: Float
}
/** A reduction over the parts together. */
export interface Reduction {
  readonly parts: ReadonlyArray<Part>
  readonly out: Place
  readonly workspace: Place
}

/** Blocks of a part: enough to fill a GPU, each with at least 2,048 elements. */
const blocks = ({ rows, width }: Shape): number =>
  Math.max(1, Math.min(1024, divide(rows * divide(width, 8), 256)))

/** One f32 a block of each part. */
export const reduceWorkspaceBytes = (parts: ReadonlyArray<Shape>): number =>
  4 * parts.reduce((n, p) => n + blocks(p), 0)

const reduce =
  (partial: string, total: string, flops: number) =>
  ({ parts, out, workspace }: Reduction): ReadonlyArray<KernelLaunch> => {
    const firsts = parts.map((_, i) => reduceWorkspaceBytes(parts.slice(0, i)))
    const n = reduceWorkspaceBytes(parts) / 4
    return [
      ...parts.map((p, i) => {
        const shape = flat(p, p.a)
        return launch(
          kernel('reduce.cu', partial, macros(p.dtype, 'f32')),
          [blocks(p)],
          256,
          [...matrix(p.a), at(workspace + firsts[i]!), u32(shape.rows), u32(shape.width)],
          p.rows * p.width * elementBytes[p.dtype] + 4 * blocks(p),
          flops * p.rows * p.width,
        )
      }),
      launch(
        kernel('reduce.cu', total, macros('f32', 'f32')),
        [1],
        1024,
        [at(workspace), u32(n), at(out)],
        4 * n + 4,
        n,
      ),
    ]
  }

/** f32 scalar. */
export const sum = reduce('sum_partial', 'sum_total', 1)
export const sumSquares = reduce('squares_partial', 'sum_total', 2)
/** bool scalar (one byte): whether every element of every part is finite. */
export const isFinite = reduce('finite_partial', 'finite_total', 1)

/** [rows, width] to a vector of `to` (default: the operand's type). */
export const sumRows = (o: Part & { readonly out: Place; readonly to?: Float }): KernelLaunch =>
  launch(
    kernel('reduce.cu', 'sum_rows', macros(o.dtype, o.to ?? o.dtype)),
    [divide(o.width, 32)],
    256,
    [...matrix(o.a), at(o.out), u32(o.rows), u32(o.width)],
    o.rows * o.width * elementBytes[o.dtype],
    o.rows * o.width,
  )

/** ct [tokens, width] summed by id into out [vocab, width] of `to` (default: the operand's type). */
export const embedGrad = (o: {
  readonly ids: Place
  readonly ct: Rows
  readonly out: Rows
  readonly tokens: number
  readonly vocab: number
  readonly width: number
  readonly dtype: Float
  readonly to?: Float
}): KernelLaunch =>
  launch(
    kernel('reduce.cu', 'embed_grad', macros(o.dtype, o.to ?? o.dtype)),
    [o.vocab, divide(o.width, 2048)],
    256,
    [at(o.ids), ...matrix(o.ct), ...matrix(o.out), u32(o.tokens), u32(o.width)],
    o.tokens * o.width * elementBytes[o.dtype] + o.vocab * o.width * elementBytes[o.to ?? o.dtype],
    o.tokens * o.width,
  )
