/** Low-rank products of adapters. A and B are f32 masters in the arena; the kernels round them as the program's casts do. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  divide,
  f32,
  kernel,
  launch,
  matrix,
  maybe,
  maybeMatrix,
  nowhere,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import { elementBytes, macros } from './element.ts'

/** Rows of a block. */
const ROWS = 8

interface LowRank {
  readonly out: Rows
  /** A second copy of the result, beside what it is multiplied with. */
  readonly beside: Rows | null
  /** Zero columns behind that copy. */
  readonly clear: number
  readonly rows: number
  readonly width: number
  readonly rank: number
  readonly by: number
  readonly dtype: Float
}

const low = (x: Rows, small: Place, byRows: boolean, o: LowRank): KernelLaunch =>
  launch(
    kernel('lora.cu', 'low_rank', macros(o.dtype)),
    [divide(o.rows, ROWS)],
    256,
    [
      ...matrix(x),
      at(small),
      u32(byRows ? 1 : 0),
      ...matrix(o.out),
      ...maybeMatrix(o.beside),
      u32(o.clear),
      u32(o.rows),
      u32(o.width),
      u32(o.rank),
      f32(o.by),
    ],
    o.rows * (o.width + 2 * o.rank) * elementBytes[o.dtype] + 4 * o.rank * o.width,
    2 * o.rows * o.width * o.rank,
  )

/** out = by · x·Aᵀ, A f32 [rank, width]. */
export const lowRank = ({ x, a, ...o }: LowRank & { readonly x: Rows; readonly a: number }) =>
  low(x, a, true, o)

/** out = by · dy·B, B f32 [width, rank]. */
export const backRank = ({ dy, b, ...o }: LowRank & { readonly dy: Rows; readonly b: number }) =>
  low(dy, b, false, o)

/** A small f32 matrix [rows, width] rounded into `columns` columns of a scratch, zeros around it; null: zeros alone. */
export interface Placed {
  readonly b: Place | null
  readonly width: number
  readonly out: Rows
  readonly rows: number
  readonly columns: number
  /** Where in the columns it starts. */
  readonly column: number
}

const placed = (j: Placed): ReadonlyArray<Arg> => [
  maybe(j.b),
  u32(j.width),
  ...matrix(j.out),
  u32(j.rows),
  u32(j.columns),
  u32(j.column),
]
const nothing: ReadonlyArray<Arg> = [nowhere, u32(0), nowhere, u32(0), u32(0), u32(8), u32(0)]

/** Four a launch. */
export const placeRows = (jobs: ReadonlyArray<Placed>, dtype: Float): ReadonlyArray<KernelLaunch> =>
  jobs.length === 0 ? [] : [placeFour(jobs.slice(0, 4), dtype), ...placeRows(jobs.slice(4), dtype)]

const placeFour = (jobs: ReadonlyArray<Placed>, dtype: Float): KernelLaunch => {
  const octets = (j: Placed): number => j.rows * divide(j.columns, 8)
  const size = jobs.reduce((n, j) => n + 8 * octets(j), 0)
  return launch(
    kernel('lora.cu', 'place_rows', macros(dtype)),
    [Math.min(1056, divide(Math.max(...jobs.map(octets)), 256)), jobs.length],
    256,
    [0, 1, 2, 3].flatMap((i) => (jobs[i] === undefined ? nothing : placed(jobs[i]))),
    size * elementBytes[dtype] + jobs.reduce((n, j) => n + 4 * j.rows * j.width, 0),
    0,
  )
}

/** out += mask ∘ (v·A): an adapter's part of a cotangent behind the forward's dropout. */
export const addLowRank = (o: {
  readonly v: Rows
  readonly a: number
  readonly out: Rows
  readonly rows: number
  readonly width: number
  readonly rank: number
  readonly dtype: Float
  readonly seed: number
  readonly keys: number
  readonly rate: number
  readonly salt: number
}): KernelLaunch =>
  launch(
    kernel('lora.cu', 'add_low_rank', macros(o.dtype)),
    [divide(o.width, 2048), divide(o.rows, ROWS)],
    256,
    [
      ...matrix(o.v),
      at(o.a),
      ...matrix(o.out),
      u32(o.rows),
      u32(o.width),
      u32(o.rank),
      at(o.seed),
      at(o.keys),
      u32(o.salt >>> 0),
      u32(Math.floor(o.rate * 2 ** 32)),
      f32(1 - o.rate),
    ],
    o.rows * (2 * o.width + o.rank) * elementBytes[o.dtype] + 4 * o.rank * o.width,
    2 * o.rows * o.width * o.rank,
  )

/** out[o] = |W[o] + by · B[o]·A|, W [rows, width] in the storage type, A [rank, width] and B [rows, rank] too. */
export const adaptedNorms = (o: {
  readonly w: Rows
  readonly a: Place
  readonly b: Place
  readonly out: Place
  readonly rows: number
  readonly width: number
  readonly rank: number
  readonly by: number
  readonly dtype: Float
}): KernelLaunch =>
  launch(
    kernel('lora.cu', 'adapted_norms', macros(o.dtype)),
    [o.rows],
    256,
    [...matrix(o.w), at(o.a), at(o.b), at(o.out), u32(o.width), u32(o.rank), f32(o.by)],
    o.rows * (o.width + o.rank) * elementBytes[o.dtype],
    (3 + 2 * o.rank) * o.rows * o.width,
  )
