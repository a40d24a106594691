/** Cards of 8-bit integers with a scale a row: decoding, encoding, and the steps of their product. */
import { parts, rowsOf, size, type Float, type TensorType } from '../../../ir/type.ts'
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
  u32,
  u64,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import type { Decode } from './nf4.ts'

export const scalesAt = (type: TensorType, offset: Place): Place => offset + parts(type)[1]!.at

/** A block of threads takes a stretch of a row. */
export const dequantize = ({ type, offset, out }: Decode, to: Float): KernelLaunch => {
  const { rows, width } = rowsOf(type)
  return launch(
    kernel('int8.cu', 'int8_decode', macros('f32', to)),
    [rows, divide(width, 2048)],
    256,
    [at(offset), at(scalesAt(type, offset)), ...matrix(out), u32(width)],
    rows * (width * (1 + elementBytes[to]) + 4),
    2 * rows * width,
  )
}

/** Encodes whole rows of `from` without gaps at `x`, of which the first value is the `first` of the matrix. */
export const encodeRows = (o: {
  readonly type: TensorType
  readonly offset: Place
  readonly x: Place
  readonly from: Float
  readonly first: number
  readonly count: number
}): KernelLaunch => {
  const { width } = rowsOf(o.type)
  const scales = scalesAt(o.type, o.offset) + (4 * o.first) / width
  return launch(
    kernel('int8.cu', 'int8_encode', macros(o.from, 'f32')),
    [o.count / width],
    256,
    [at(o.x), at(o.offset + o.first), at(scales), u32(width)],
    o.count * (elementBytes[o.from] + 1),
    2 * o.count,
  )
}

/** What finding columns with outliers takes: a flag a column, their number, and which they are. */
export interface Outliers {
  readonly flags: Place
  readonly list: Place
  readonly threshold: number
}
export const flagBytes = (width: number): number => width
export const listBytes = (width: number): number => 4 * (width + 1)

interface Operand {
  readonly x: Rows
  readonly rows: number
  readonly width: number
  readonly dtype: Float
}
const own = (dtype: Float, name: string) => kernel('int8_dot.cu', name, macros(dtype, dtype))

export const findOutliers = (
  { x, rows, width, dtype }: Operand,
  { flags, list, threshold }: Outliers,
): ReadonlyArray<KernelLaunch> => [
  launch(
    own(dtype, 'int8_outliers'),
    [divide(width, 32)],
    256,
    [...matrix(x), at(flags), u32(rows), u32(width), f32(threshold)],
    rows * width * elementBytes[dtype],
    rows * width,
  ),
  launch(own(dtype, 'int8_list'), [1], 1024, [at(flags), at(list), u32(width)], 5 * width, width),
]

/** Codes of x's rows as numbers of its dtype, without gaps. */
export const quantizeRows = (
  { x, rows, width, dtype }: Operand,
  outliers: Outliers | null,
  out: { readonly codes: Place; readonly scales: Place },
): KernelLaunch =>
  launch(
    own(dtype, 'int8_rows'),
    [rows],
    256,
    [
      ...matrix(x),
      maybe(outliers?.flags),
      at(out.codes),
      at(out.scales),
      u32(width),
      f32(outliers?.threshold ?? 0),
    ],
    3 * rows * width * elementBytes[dtype],
    3 * rows * width,
  )

/** Codes of W as numbers, without gaps. */
export const widen = (type: TensorType, offset: Place, out: Place, dtype: Float): KernelLaunch => {
  const n = size(type)
  return launch(
    own(dtype, 'int8_widen'),
    [divide(n, 2048)],
    256,
    [at(offset), at(out), ...u64(n)],
    n * (1 + elementBytes[dtype]),
    0,
  )
}

/** Sums of products of codes times scales, and columns with outliers added. */
export const finish = (o: {
  readonly sums: Place
  readonly scales: Place
  readonly weight: { readonly type: TensorType; readonly offset: Place }
  readonly outliers: Outliers | null
  readonly x: Operand
  readonly d: Rows
}): KernelLaunch => {
  const { rows: m, width: k, dtype } = o.x
  const n = o.weight.type.shape[0]!
  return launch(
    own(dtype, 'int8_finish'),
    [divide(n, 64), divide(m, 64)],
    256,
    [
      at(o.sums),
      at(o.scales),
      at(scalesAt(o.weight.type, o.weight.offset)),
      maybe(o.outliers?.list),
      ...matrix(o.x.x),
      at(o.weight.offset),
      ...matrix(o.d),
      u32(m),
      u32(n),
      u32(k),
    ],
    m * n * (4 + elementBytes[dtype]),
    3 * m * n,
  )
}
