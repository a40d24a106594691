/** Cards of adapters' low-rank products on tensor cores: up to four a launch. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  divide,
  f32,
  kernel,
  launch,
  matrix,
  maybeMatrix,
  nowhere,
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import { elementBytes, macros } from './element.ts'

export const JOBS = 4
const MOST_RANKS = 64

const tiles = (rank: number): number => divide(rank, 8)
const wideRows = (r: Rows, dtype: Float): boolean =>
  r.offset % 16 === 0 && (r.ld * elementBytes[dtype]) % 16 === 0

/** Turing has products of f16 alone. */
const onTensorCores = (arch: number, dtype: Float): boolean =>
  dtype === 'f16' || (dtype === 'bf16' && arch >= 80)

const needs = (dtype: Float) => (dtype === 'f16' ? 75 : 80)

export interface LowJob {
  readonly x: Rows
  /** Width of x that is summed over. */
  readonly inner: number
  /** The small matrix in the 16-bit type: A [rank, inner] or B [inner, rank]. */
  readonly small: Place
  readonly out: Rows
  readonly beside: Rows | null
  readonly clear: number
}
export interface LowRanks {
  readonly jobs: ReadonlyArray<LowJob>
  readonly byRows: boolean
  readonly rows: number
  readonly rank: number
  readonly by: number
  readonly dtype: Float
}

export const fastLowRank = (arch: number, o: LowRanks): boolean =>
  onTensorCores(arch, o.dtype) &&
  o.rank <= MOST_RANKS &&
  o.jobs.every((j) => j.inner % 32 === 0 && wideRows(j.x, o.dtype) && j.small % 16 === 0)

const lowJob = (j: LowJob): ReadonlyArray<Arg> => [
  ...matrix(j.x),
  u32(j.inner),
  at(j.small),
  ...matrix(j.out),
  ...maybeMatrix(j.beside),
  u32(j.clear),
]
const noLowJob: ReadonlyArray<Arg> = [
  nowhere,
  u32(0),
  u32(0),
  nowhere,
  nowhere,
  u32(0),
  nowhere,
  u32(0),
  u32(0),
]

const sum = (list: ReadonlyArray<number>): number => list.reduce((a, b) => a + b, 0)

/** Warps of a block: as many as their partial sums leave shared memory for, fewer where several jobs fill the device. */
const warpsOf = (o: LowRanks): number => {
  const most = 2 ** Math.floor(Math.log2((48 * 1024) / (16 * 8 * tiles(o.rank) * 4)))
  return Math.min(o.jobs.length > 1 ? 16 : 32, most)
}

export const lowRanks = (o: LowRanks): KernelLaunch =>
  launch(
    kernel(
      'lora_mma.cu',
      'low_rank_mma',
      { ...macros(o.dtype), RANK_TILES: tiles(o.rank), WARPS: warpsOf(o) },
      needs(o.dtype),
    ),
    [divide(o.rows, 16), o.jobs.length],
    32 * warpsOf(o),
    [
      ...[0, 1, 2, 3].flatMap((i) => (o.jobs[i] === undefined ? noLowJob : lowJob(o.jobs[i]))),
      u32(o.byRows ? 1 : 0),
      u32(o.rows),
      u32(o.rank),
      f32(o.by),
    ],
    elementBytes[o.dtype] *
      sum(o.jobs.map((j) => o.rows * (j.inner + 2 * o.rank) + o.rank * j.inner)),
    2 * o.rows * o.rank * sum(o.jobs.map((j) => j.inner)),
  )

export interface GradJob {
  /** Tall operand: cotangents for B's gradient, inputs for A's. */
  readonly wide: Rows
  readonly columns: number
  readonly thin: Rows
  /** f32, added to: [columns, rank], or [rank, columns] where the ranks come first. */
  readonly grad: Place
}
export interface LowGrads {
  readonly jobs: ReadonlyArray<GradJob>
  readonly rows: number
  readonly rank: number
  readonly ranksFirst: boolean
  readonly dtype: Float
}

const STAGES = 4
const STEP = 128
/** Blocks that a large device is filled with. */
const FILLED = 200
/** Columns of a block: fewer where the columns of all jobs are few, for more blocks. */
const columnsOf = (o: LowGrads): number => {
  const columns = sum(o.jobs.map((j) => j.columns))
  return [64, 32].find((n) => columns / n >= FILLED) ?? 16
}

const sharedOf = (columns: number, rank: number): number =>
  Math.max(
    STAGES * STEP * 2 * (columns + 8 * tiles(rank)),
    // Sums of eight warps at the end.
    8 * columns * 8 * tiles(rank) * 4,
  )

export const fastLowGrads = (arch: number, shared: number, o: LowGrads): boolean => {
  const columns = columnsOf(o)
  return (
    onTensorCores(arch, o.dtype) &&
    o.rank % 8 === 0 &&
    o.rank <= 32 &&
    sharedOf(columns, o.rank) <= shared &&
    o.jobs.every(
      (j) => j.columns % columns === 0 && wideRows(j.wide, o.dtype) && wideRows(j.thin, o.dtype),
    )
  )
}

const gradJob = (j: GradJob): ReadonlyArray<Arg> => [
  ...matrix(j.wide),
  u32(j.columns),
  ...matrix(j.thin),
  at(j.grad),
]
const noGradJob: ReadonlyArray<Arg> = [nowhere, u32(0), u32(0), nowhere, u32(0), nowhere]

export const lowGrads = (o: LowGrads): KernelLaunch => {
  const columns = columnsOf(o)
  return launch(
    kernel(
      'lora_mma.cu',
      'low_rank_grad',
      { ...macros(o.dtype), RANK_TILES: tiles(o.rank), COLUMNS: columns },
      needs(o.dtype),
    ),
    [divide(Math.max(...o.jobs.map((j) => j.columns)), columns), o.jobs.length],
    256,
    [
      ...[0, 1, 2, 3].flatMap((i) => (o.jobs[i] === undefined ? noGradJob : gradJob(o.jobs[i]))),
      u32(o.rows),
      u32(o.rank),
      u32(o.ranksFirst ? 1 : 0),
    ],
    sum(
      o.jobs.map(
        (j) => o.rows * (j.columns + o.rank) * elementBytes[o.dtype] + 8 * j.columns * o.rank,
      ),
    ),
    2 * o.rows * o.rank * sum(o.jobs.map((j) => j.columns)),
    sharedOf(columns, o.rank),
  )
}
