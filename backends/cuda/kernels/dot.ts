/** Cards of products in plain f32 arithmetic, for what the library's tensor-core products do not take. */
import type { Float } from '../../../ir/type.ts'
import {
  elementBytes,
  divide,
  f32,
  kernel,
  launch,
  matrix,
  maybeMatrix,
  macros,
  u32,
  type KernelLaunch,
  type Rows,
} from './card.ts'

/** d [m, n] = alpha · op(a) · op(b) + beta · c over k. a and b are of `dtype`, c and d of `to`; c may lie under d. */
export const dot = (o: {
  readonly a: Rows
  readonly b: Rows
  readonly c?: Rows
  readonly d: Rows
  readonly ta: boolean
  readonly tb: boolean
  readonly m: number
  readonly n: number
  readonly k: number
  readonly alpha: number
  readonly beta: number
  readonly dtype: Float
  readonly to: Float
}): KernelLaunch =>
  launch(
    kernel('dot.cu', 'dot_tiles', macros(o.dtype, o.to)),
    [divide(o.n, 64), divide(o.m, 64)],
    256,
    [
      ...matrix(o.a),
      u32(o.ta ? 1 : 0),
      ...matrix(o.b),
      u32(o.tb ? 1 : 0),
      ...maybeMatrix(o.c),
      ...matrix(o.d),
      u32(o.m),
      u32(o.n),
      u32(o.k),
      f32(o.alpha),
      f32(o.beta),
    ],
    elementBytes[o.dtype] * o.k * (o.m + o.n) + elementBytes[o.to] * o.m * o.n * (o.c ? 2 : 1),
    2 * o.m * o.n * o.k,
  )

/** u [rows, n] = alpha · x [rows, k] · a [n, k]ᵀ for few columns; `a` of `weights` is rounded to x's type first. */
export const skinny = (o: {
  readonly x: Rows
  readonly a: Rows
  readonly u: Rows
  readonly rows: number
  readonly k: number
  readonly n: number
  readonly alpha: number
  readonly dtype: Float
  readonly weights: Float
}): KernelLaunch =>
  launch(
    kernel('dot.cu', 'skinny_rows', macros(o.dtype, o.weights)),
    [divide(o.rows, 4)],
    128,
    [...matrix(o.x), ...matrix(o.a), ...matrix(o.u), u32(o.rows), u32(o.k), u32(o.n), f32(o.alpha)],
    elementBytes[o.dtype] * o.rows * (o.k + o.n) + elementBytes[o.weights] * o.n * o.k,
    2 * o.rows * o.n * o.k,
  )
