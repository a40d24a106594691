/** Cards of NF4 weights as e4m3: their scales by row and by column, which are constants, and decoding straight to 8 bits. */
import { size, type Float, type TensorType } from '../../../ir/type.ts'
import {
  at,
  divide,
  kernel,
  launch,
  macros,
  matrix,
  maybe,
  nowhere,
  u32,
  u64,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import { encodedBytes, encoding, places } from './nf4.ts'

/** An encoded matrix [rows, width] in the arena. */
export interface Weight {
  readonly type: TensorType
  readonly offset: Place
}
export const WEIGHTS = 4

const own = (dtype: Float, name: string) => kernel('nf4.cu', name, macros(dtype, dtype))
const rowsOf = (w: Weight): number => w.type.shape[0]!
const widthOf = (w: Weight): number => w.type.shape[1]!
const total = <T>(list: ReadonlyArray<T>, f: (x: T) => number): number =>
  list.reduce((n, x) => n + f(x), 0)

const coded = (w: Weight): ReadonlyArray<Arg> => {
  const p = places(w.type, w.offset)
  return [at(p.codes), at(p.scales), maybe(p.nested), maybe(p.mean), u32(rowsOf(w))]
}
const noCoded: ReadonlyArray<Arg> = [nowhere, nowhere, nowhere, nowhere, u32(0)]
const four = (list: ReadonlyArray<Weight>): ReadonlyArray<Arg> =>
  [0, 1, 2, 3].flatMap((i) => (list[i] === undefined ? noCoded : coded(list[i])))
const blocksOf = (w: Weight): ReadonlyArray<Arg> => {
  const { block, nested } = encoding(w.type)
  return [u32(block), u32(nested)]
}

/** The scale of every row; values are rounded to `dtype` first. */
export const rowScales = (w: Weight, out: Place, dtype: Float): KernelLaunch =>
  launch(
    own(dtype, 'nf4_row_scales'),
    [divide(rowsOf(w), 8)],
    256,
    [...coded(w), at(out), u32(widthOf(w)), ...blocksOf(w)],
    encodedBytes(w.type) + 4 * rowsOf(w),
    size(w.type),
  )

/** The scale of every column of up to four weights of one width and encoding, one above the other. */
export const columnScales = (
  list: ReadonlyArray<Weight>,
  out: Place,
  dtype: Float,
): KernelLaunch => {
  const width = widthOf(list[0]!)
  return launch(
    own(dtype, 'nf4_column_scales'),
    [divide(width, 32)],
    1024,
    [...four(list), at(out), u32(width), ...blocksOf(list[0]!)],
    total(list, (w) => encodedBytes(w.type)) + 4 * width,
    total(list, (w) => size(w.type)),
  )
}

/** A weight as rows of e4m3 bytes, by the scales of its rows. */
export interface Job extends Weight {
  readonly scales: Place
  readonly out: Rows
}

const doubled = (w: Weight): boolean => {
  const { block, nested } = encoding(w.type)
  return (
    block === 64 &&
    nested === 256 &&
    widthOf(w) % 64 === 0 &&
    w.offset % 4 === 0 &&
    size(w.type) <= 2 ** 32 - 16384
  )
}
const wide = (r: Rows): boolean => r.offset % 16 === 0 && r.ld % 16 === 0

const generic = (
  w: Weight,
  scales: Place,
  ofColumns: boolean,
  out: Place,
  [down, along]: readonly [number, number],
  dtype: Float,
): KernelLaunch =>
  launch(
    own(dtype, 'nf4_to_float8'),
    [divide(size(w.type), 2048)],
    256,
    [
      ...coded(w),
      at(scales),
      u32(ofColumns ? 1 : 0),
      at(out),
      u32(down),
      u32(along),
      ...u64(size(w.type)),
      u32(widthOf(w)),
      ...blocksOf(w),
    ],
    encodedBytes(w.type) + size(w.type),
    size(w.type),
  )

const absent: ReadonlyArray<Arg> = [
  ...[nowhere, nowhere, nowhere, nowhere, nowhere, nowhere],
  u32(0),
  u32(64),
  u32(0),
]
const job = (j: Job): ReadonlyArray<Arg> => {
  const p = places(j.type, j.offset)
  return [
    at(p.codes),
    at(p.scales),
    maybe(p.nested),
    maybe(p.mean),
    at(j.scales),
    ...matrix(j.out),
    u32(widthOf(j)),
    u32(size(j.type)),
  ]
}

/** Weights decoded to e4m3: four a launch where the fast kernel takes them, else one by one. */
export const toFloat8 = (jobs: ReadonlyArray<Job>, dtype: Float): ReadonlyArray<KernelLaunch> => {
  const fast = jobs.filter((j) => doubled(j) && wide(j.out))
  return [
    ...Array.from({ length: divide(fast.length, WEIGHTS) }, (_, i) => {
      const some = fast.slice(WEIGHTS * i, WEIGHTS * (i + 1))
      return launch(
        own(dtype, 'nf4_to_float8_groups'),
        [total(some, (j) => divide(size(j.type), 16384))],
        256,
        [0, 1, 2, 3].flatMap((k) => (some[k] === undefined ? absent : job(some[k]))),
        total(some, (j) => encodedBytes(j.type) + size(j.type)),
        total(some, (j) => size(j.type)),
      )
    }),
    ...jobs
      .filter((j) => !fast.includes(j))
      .map((j) => generic(j, j.scales, false, j.out.offset, [j.out.ld, 1], dtype)),
  ]
}

/** Up to four weights of one width, one above the other, turned: out [width, rows of all], by the scales of their common columns. */
export const toFloat8Turned = (
  list: ReadonlyArray<Weight>,
  scales: Place,
  out: Rows,
  dtype: Float,
): ReadonlyArray<KernelLaunch> => {
  const width = widthOf(list[0]!)
  const starts = list.map((_, i) => total(list.slice(0, i), rowsOf))
  const fast =
    list.every((w) => doubled(w) && rowsOf(w) % 16 === 0) && wide(out) && scales % 16 === 0
  return fast
    ? [
        launch(
          own(dtype, 'nf4_to_float8_turned'),
          [(total(list, (w) => divide(rowsOf(w), 128)) * width) / 64],
          256,
          [...four(list), at(scales), ...matrix(out), u32(width)],
          total(list, (w) => encodedBytes(w.type) + size(w.type)),
          total(list, (w) => size(w.type)),
        ),
      ]
    : list.map((w, i) => generic(w, scales, true, out.offset + starts[i]!, [1, out.ld], dtype))
}
