/** Cards of rotary position embedding. */
import type { Rope } from '../../../ir/algebra.ts'
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  f32,
  f64,
  kernel,
  launch,
  matrix,
  maybeMatrix,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

/** i32 positions [rows] to f32 tables [rows, dim/2] without gaps. */
export const ropeTable = (o: {
  readonly positions: Place
  readonly cos: Place
  readonly sin: Place
  readonly rows: number
  readonly rope: Rope
}): KernelLaunch => {
  const half = o.rope.dim / 2
  const { theta, factor, lowFreqFactor, highFreqFactor, originalContext } = o.rope
  return launch(
    kernel('rope.cu', 'rope_table', macros('f32')),
    [divide(half, 64), divide(o.rows, 16)],
    64,
    [
      at(o.positions),
      at(o.cos),
      at(o.sin),
      u32(o.rows),
      u32(half),
      ...[theta, factor, lowFreqFactor, highFreqFactor, originalContext].flatMap(f64),
    ],
    8 * o.rows * half,
    4 * o.rows * half,
  )
}

/** A matrix of whole heads and where its turned rows go (may be the same place). */
export interface Turned {
  readonly x: Rows
  readonly out: Rows
  readonly heads: number
}

/** Turns every head by its row's tables, `inverse` back; `also`: a second matrix (keys) in the same launch. */
export const rope = (
  o: Turned & {
    readonly also?: Turned
    readonly cos: Place
    readonly sin: Place
    readonly rows: number
    readonly dim: number
    readonly inverse: boolean
    readonly dtype: Float
  },
): KernelLaunch => {
  const [half, heads] = [o.dim / 2, o.heads + (o.also?.heads ?? 0)]
  const size = o.rows * heads * o.dim
  return launch(
    kernel('rope.cu', 'rope_rows', macros(o.dtype)),
    [divide(divide(half, 8) * heads, 128), Math.min(65535, o.rows), divide(o.rows, 65535)],
    128,
    [
      ...matrix(o.x),
      ...matrix(o.out),
      u32(o.heads),
      ...maybeMatrix(o.also?.x),
      ...maybeMatrix(o.also?.out),
      u32(o.also?.heads ?? 0),
      at(o.cos),
      at(o.sin),
      u32(o.rows),
      u32(half),
      f32(o.inverse ? -1 : 1),
    ],
    2 * size * elementBytes[o.dtype] + 8 * o.rows * half,
    3 * size,
  )
}
