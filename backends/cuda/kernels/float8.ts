/** Cards of 8-bit floats: rows quantized with a scale each, and their products in plain f32 arithmetic. */
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
  maybe,
  maybeMatrix,
  nowhere,
  octets,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

/** A matrix of 8-bit floats with an f32 scale for each of its rows, or null where they are multiplied in elsewhere. */
export interface Rows8 extends Rows {
  readonly scales: Place | null
}

export const left = (format: Float8): Readonly<Record<string, number>> =>
  format === 'e5m2' ? { X_E5M2: 1 } : {}

export interface Part {
  readonly x: Rows
  readonly width: number
}
/** Matrices that one launch sees side by side. */
export const PARTS = 4

const part = (p: Part): ReadonlyArray<Arg> => [...matrix(p.x), u32(p.width)]
const noPart: ReadonlyArray<Arg> = [nowhere, u32(0), u32(0)]

/** Rows of up to four matrices side by side, quantized as one row with one scale. */
export const quantizeRows = (o: {
  readonly parts: ReadonlyArray<Part>
  readonly out: Rows
  readonly scales: Place
  readonly rows: number
  readonly dtype: Float
  readonly format: Float8
}): KernelLaunch => {
  const width = o.parts.reduce((n, p) => n + p.width, 0)
  const threads = Math.min(512, 32 * divide(width, 768))
  return launch(
    kernel('float8.cu', 'quantize_rows', { ...macros(o.dtype, o.dtype), ...left(o.format) }),
    [o.rows],
    threads,
    [
      ...[0, 1, 2, 3].flatMap((i) => (o.parts[i] === undefined ? noPart : part(o.parts[i]))),
      ...matrix(o.out),
      at(o.scales),
    ],
    o.rows * (width * (elementBytes[o.dtype] + 1) + 4),
    2 * o.rows * width,
  )
}

/** Columns quantized to e4m3 and turned: out [width, rows]. */
export const quantizeColumns = (o: {
  readonly x: Rows
  readonly out: Rows
  readonly scales: Place
  readonly rows: number
  readonly width: number
  readonly dtype: Float
}): KernelLaunch =>
  launch(
    kernel('float8.cu', 'quantize_columns', macros(o.dtype, o.dtype)),
    [divide(o.width, 32)],
    256,
    [...matrix(o.x), ...matrix(o.out), at(o.scales), u32(o.rows), u32(o.width)],
    o.rows * o.width * (elementBytes[o.dtype] + 1),
    2 * o.rows * o.width,
  )

/** d [m, n] = alpha · a [m, k] · b [n, k]ᵀ + beta · c; a of `format`, b of e4m3, c and d of `to`; c may lie under d. */
export const dot8 = (o: {
  readonly a: Rows8
  readonly b: Rows8
  readonly c: Rows | null
  readonly d: Rows
  readonly m: number
  readonly n: number
  readonly k: number
  readonly alpha: number
  readonly beta: number
  readonly format: Float8
  readonly to: Float
}): KernelLaunch =>
  launch(
    kernel('float8.cu', 'float8_dot', { ...macros('bf16', o.to), ...left(o.format) }),
    [divide(o.n, 64), divide(o.m, 64)],
    256,
    [
      ...matrix(o.a),
      maybe(o.a.scales),
      ...matrix(o.b),
      maybe(o.b.scales),
      ...maybeMatrix(o.c),
      ...matrix(o.d),
      u32(o.m),
      u32(o.n),
      u32(o.k),
      f32(o.alpha),
      f32(o.beta),
    ],
    o.k * (o.m + o.n) + elementBytes[o.to] * o.m * o.n * (o.c === null ? 1 : 2),
    2 * o.m * o.n * o.k,
  )

/** d = sums · a[row] · b[column] (+ c). */
export const scaleSums = (o: {
  readonly sums: Rows
  readonly a: Place
  readonly b: Place
  readonly c: Rows | null
  readonly d: Rows
  readonly rows: number
  readonly width: number
  readonly to: Float
}): KernelLaunch =>
  launch(
    kernel('float8.cu', 'scale_sums', macros('bf16', o.to)),
    [octets(o)],
    256,
    [
      ...matrix(o.sums),
      at(o.a),
      at(o.b),
      ...maybeMatrix(o.c),
      ...matrix(o.d),
      u32(o.rows),
      u32(o.width),
    ],
    o.rows * o.width * (4 + elementBytes[o.to] * (o.c === null ? 1 : 2)),
    3 * o.rows * o.width,
  )
