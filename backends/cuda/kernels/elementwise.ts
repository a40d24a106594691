/** Cards of element-wise ops, casts, gathers, SwiGLU and dropout. Results may lie over operands of the same type. */
import { round, toBf16, toF16 } from '../../../ir/number.ts'
import type { Float, Plain } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  f32,
  flat,
  kernel,
  launch,
  matrix,
  octets,
  macros,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
  type Shape,
} from './card.ts'

interface Typed extends Shape {
  readonly dtype: Float
}
export interface Unary extends Typed {
  readonly a: Rows
  readonly out: Rows
}
export interface Binary extends Unary {
  readonly b: Rows
}

const size = ({ rows, width }: Shape): number => rows * width

const elementwise = (
  name: string,
  o: Typed,
  shape: Shape,
  args: ReadonlyArray<Arg>,
  operands: number,
  flops = 1,
): KernelLaunch =>
  launch(
    kernel('elementwise.cu', name, macros(o.dtype)),
    [octets(shape)],
    256,
    args,
    operands * size(o) * elementBytes[o.dtype],
    flops * size(o),
  )

const unary = (name: string, o: Unary, extra: ReadonlyArray<Arg> = []): KernelLaunch => {
  const shape = flat(o, o.a, o.out)
  const dims = [u32(shape.rows), u32(shape.width)]
  return elementwise(name, o, shape, [...matrix(o.a), ...matrix(o.out), ...dims, ...extra], 2)
}
const binary = (name: string, o: Binary): KernelLaunch => {
  const shape = flat(o, o.a, o.b, o.out)
  const dims = [u32(shape.rows), u32(shape.width)]
  return elementwise(name, o, shape, [...matrix(o.a), ...matrix(o.b), ...matrix(o.out), ...dims], 3)
}

export const add = (o: Binary): KernelLaunch => binary('add_rows', o)
export const sub = (o: Binary): KernelLaunch => binary('sub_rows', o)
export const mul = (o: Binary): KernelLaunch => binary('mul_rows', o)
export const scale = (o: Unary & { readonly by: number }): KernelLaunch =>
  unary('scale_rows', o, [f32(o.by)])
/** `by`: an f32 scalar in device memory. */
export const scaleBy = (o: Unary & { readonly by: Place }): KernelLaunch =>
  unary('scale_by_rows', o, [at(o.by)])
export const reciprocal = (o: Unary): KernelLaunch => unary('reciprocal_rows', o)
export const sqrt = (o: Unary): KernelLaunch => unary('sqrt_rows', o)
export const sign = (o: Unary): KernelLaunch => unary('sign_rows', o)
export const maximum = (o: Binary): KernelLaunch => binary('maximum_rows', o)
export const shift = (o: Unary & { readonly by: number }): KernelLaunch =>
  unary('shift_rows', o, [f32(o.by)])
export const power = (o: Unary & { readonly exponent: number }): KernelLaunch =>
  unary('power_rows', o, [f32(o.exponent)])

export const sigmoid = (o: Unary): KernelLaunch => unary('sigmoid_rows', o)
export const softplus = (o: Unary): KernelLaunch => unary('softplus_rows', o)
export const logOdds = (o: Unary): KernelLaunch => unary('log_odds_rows', o)
export const positive = (o: Unary): KernelLaunch => unary('positive_rows', o)

/** f32 `a` [count] at i32 `ids` [n], 0 where an id is none. */
export const take = (o: {
  readonly a: Place
  readonly count: number
  readonly ids: Place
  readonly out: Place
  readonly n: number
}): KernelLaunch =>
  launch(
    kernel('elementwise.cu', 'take_or_zero', macros('f32')),
    [divide(o.n, 256)],
    256,
    [at(o.a), u32(o.count), at(o.ids), at(o.out), u32(o.n)],
    12 * o.n,
    0,
  )

/** `b`: a vector of `width`. */
const withRow =
  (name: string) =>
  (o: Unary & { readonly b: Place }): KernelLaunch =>
    elementwise(
      name,
      o,
      o,
      [...matrix(o.a), at(o.b), ...matrix(o.out), u32(o.rows), u32(o.width)],
      2,
    )
export const addRow = withRow('add_row')
export const mulRow = withRow('mul_row')

/** A scalar of `dtype` in device memory, repeated. */
export const spread = (o: Typed & { readonly value: Place; readonly out: Rows }): KernelLaunch => {
  const shape = flat(o, o.out)
  const args = [at(o.value), ...matrix(o.out), u32(shape.rows), u32(shape.width)]
  return elementwise('spread_rows', o, shape, args, 1, 0)
}

/** Rows of a table by i32 index: `embed` and `takeRows`. */
export const gather = (
  o: Typed & { readonly table: Rows; readonly index: Place; readonly out: Rows },
): KernelLaunch =>
  elementwise(
    'gather_rows',
    o,
    o,
    [...matrix(o.table), at(o.index), ...matrix(o.out), u32(o.rows), u32(o.width)],
    2,
    0,
  )

export const swiglu = (
  o: Typed & { readonly gate: Rows; readonly up: Rows; readonly out: Rows },
): KernelLaunch => {
  const shape = flat(o, o.gate, o.up, o.out)
  const operands = [o.gate, o.up, o.out].flatMap(matrix)
  return elementwise(
    'swiglu_rows',
    o,
    shape,
    [...operands, u32(shape.rows), u32(shape.width)],
    3,
    5,
  )
}
/** dgate may lie over gate and dup over up. */
export const swigluGrad = (
  o: Typed & {
    readonly gate: Rows
    readonly up: Rows
    readonly ct: Rows
    readonly dgate: Rows
    readonly dup: Rows
  },
): KernelLaunch => {
  const all = [o.gate, o.up, o.ct, o.dgate, o.dup]
  const shape = flat(o, ...all)
  const args = [...all.flatMap(matrix), u32(shape.rows), u32(shape.width)]
  return elementwise('swiglu_grad_rows', o, shape, args, 5, 10)
}

/** `seed`: an i32 scalar in device memory; `keys`: i32 [rows]. */
export const dropout = (
  o: Unary & {
    readonly seed: Place
    readonly keys: Place
    readonly rate: number
    readonly salt: number
  },
): KernelLaunch =>
  elementwise(
    'dropout_rows',
    o,
    o,
    [
      ...matrix(o.a),
      ...matrix(o.out),
      u32(o.rows),
      u32(o.width),
      at(o.seed),
      at(o.keys),
      u32(o.salt >>> 0),
      u32(Math.floor(o.rate * 2 ** 32)),
      f32(1 - o.rate),
    ],
    2,
  )

/** `reach`: f32 [rows]. */
export const noise = (
  o: Unary & {
    readonly seed: Place
    readonly keys: Place
    readonly reach: Place
    readonly salt: number
  },
): KernelLaunch =>
  elementwise(
    'noise_rows',
    o,
    o,
    [
      ...matrix(o.a),
      ...matrix(o.out),
      u32(o.rows),
      u32(o.width),
      ...[o.seed, o.keys, o.reach].map(at),
      u32(o.salt >>> 0),
    ],
    2,
    2,
  )

export const cast = (
  o: Shape & { readonly a: Rows; readonly out: Rows; readonly from: Float; readonly to: Float },
): KernelLaunch => {
  const shape = flat(o, o.a, o.out)
  return launch(
    kernel('cast.cu', 'cast_rows', macros(o.from, o.to)),
    [octets(shape)],
    256,
    [...matrix(o.a), ...matrix(o.out), u32(shape.rows), u32(shape.width)],
    size(o) * (elementBytes[o.from] + elementBytes[o.to]),
    0,
  )
}

const plainBytes: { readonly [K in Plain]: number } = {
  ...elementBytes,
  i32: 4,
  i8: 1,
  u8: 1,
  bool: 1,
}
/** The same matrices counted in bytes. */
const asBytes = (dtype: Plain, o: Shape, ...operands: ReadonlyArray<Rows>) => {
  const by = plainBytes[dtype]
  const wide = operands.map((r) => ({ offset: r.offset, ld: r.ld * by }))
  return { shape: flat({ rows: o.rows, width: o.width * by }, ...wide), operands: wide }
}
const pieces = ({ rows, width }: Shape): number => divide(rows * divide(width, 16), 256)

/** Any plain type; `condition` is a bool scalar (one byte) in device memory. */
export const select = (
  o: Shape & {
    readonly dtype: Plain
    readonly condition: Place
    readonly a: Rows
    readonly b: Rows
    readonly out: Rows
  },
): KernelLaunch => {
  const { shape, operands } = asBytes(o.dtype, o, o.a, o.b, o.out)
  return launch(
    kernel('bytes.cu', 'select_bytes', {}),
    [pieces(shape)],
    256,
    [at(o.condition), ...operands.flatMap(matrix), u32(shape.rows), u32(shape.width)],
    2 * size(o) * plainBytes[o.dtype],
    0,
  )
}

const patterns: { readonly [K in Plain]: (x: number) => number } = {
  f32: (x) => new Uint32Array(Float32Array.of(x).buffer)[0]!,
  bf16: (x) => toBf16(x) * 0x10001,
  f16: (x) => toF16(Math.fround(x)) * 0x10001,
  i32: (x) => round.i32(x) >>> 0,
  i8: (x) => (round.i8(x) & 255) * 0x1010101,
  u8: (x) => round.u8(x) * 0x1010101,
  bool: (x) => round.bool(x) * 0x1010101,
}
export const fill = (
  o: Shape & { readonly dtype: Plain; readonly value: number; readonly out: Rows },
): KernelLaunch => {
  const { shape, operands } = asBytes(o.dtype, o, o.out)
  return launch(
    kernel('bytes.cu', 'fill_bytes', {}),
    [pieces(shape)],
    256,
    [
      ...operands.flatMap(matrix),
      u32(patterns[o.dtype](o.value)),
      u32(shape.rows),
      u32(shape.width),
    ],
    size(o) * plainBytes[o.dtype],
    0,
  )
}
