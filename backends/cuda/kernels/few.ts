/** Cards of products of a handful of rows with 4-bit weights: the codes are read once, nothing decoded is written. */
import { blocks, isEncoded, type Float, type TensorType } from '../../../ir/type.ts'
import type { Kernel } from '../launch.ts'
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
  u32,
  type Arg,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'
import { encodedBytes, places } from './nf4.ts'

/** The GPU, as far as the launch depends on it. */
export interface Room {
  readonly sms: number
  /** Bytes of shared memory of a block. */
  readonly shared: number
}

export interface FewShape {
  readonly rows: number
  /** Inner dimension. */
  readonly k: number
  /** Two matrices of one size whose results meet in a swiglu. */
  readonly pair: boolean
}

export interface FewPlan {
  readonly warps: number
  /** 64-blocks (of 16-bit weights 32 columns) that a warp takes at a time. */
  readonly blocks: number
  /** Rows of x by eights. */
  readonly tiles: number
  /** Parts of the inner dimension, each by blocks of its own, and the 64-blocks of one. */
  readonly parts: number
  readonly per: number
}

/** Most rows of x. */
export const FEW = 32
const LUT = 32768
/** Shared memory that the kernel has besides the dynamic one. */
const STATIC = 256

/** Whether the kernel reads this encoding at all. */
export const fewReads = (type: TensorType): boolean => {
  if (!isEncoded(type.dtype)) return false
  const { block, nested } = blocks(type.dtype)
  return (
    block === 64 &&
    (nested === 256 || nested === 0) &&
    type.shape.length === 2 &&
    type.shape[1]! % 64 === 0
  )
}

const range = (from: number, to: number): ReadonlyArray<number> =>
  Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => from + i)

/** Pieces of `blocks` for the warps with the least idling; of equals the most warps. */
const warpsFor = (per: number, blocks: number, tiles: number): number => {
  const pieces = divide(per, blocks)
  // More rows need more registers.
  const most = Math.min(tiles > 2 && blocks === 4 ? 12 : 16, pieces)
  const idle = (w: number): number => divide(pieces, w) * w
  return range(Math.min(8, most), most).reduce((best, w) => (idle(w) <= idle(best) ? w : best))
}
/** Large pieces have more on its way, small ones keep more warps busy. */
const blocksFor = (per: number): number => (divide(per, 4) < 12 ? 2 : 4)

const sharedBytes = (s: FewShape, warps: number, per: number): number =>
  LUT + 2 * s.rows * (per * 64 + 8) + 2 * warps * s.rows * 16 * 4

/** Tiles of 8 rows that the kernel is compiled for. */
const tilesOf = (rows: number): number => {
  const eights = divide(rows, 8)
  return eights === 3 ? 4 : eights
}

/** The fewest parts of `blocks` whose shared memory fits; null: none do. */
export const splitOf = (
  rows: number,
  blocks: number,
  bytesOf: (warps: number, per: number) => number,
  room: Room,
  piece: (per: number) => number = blocksFor,
): FewPlan | null => {
  if (rows < 1 || rows > FEW) return null
  const tiles = tilesOf(rows)
  for (let parts = 1; parts <= blocks; parts++) {
    const per = divide(blocks, parts)
    const warps = warpsFor(per, piece(per), tiles)
    if (bytesOf(warps, per) <= room.shared - STATIC)
      return { warps, blocks: piece(per), tiles, parts: divide(blocks, per), per }
  }
  return null
}

/** How the work is split; null: these shapes do not fit the GPU. */
export const fewPlan = (s: FewShape, room: Room): FewPlan | null => {
  const plan = splitOf(s.rows, s.k / 64, (warps, per) => sharedBytes(s, warps, per), room)
  // The two of a pair meet in one block of threads.
  return s.pair && plan !== null && (plan.parts > 1 || plan.tiles > 1) ? null : plan
}

export interface FewMatrix {
  readonly type: TensorType
  readonly offset: Place
  readonly out: Rows
  /** B f32 [n, rank], and the first of its low-rank columns. */
  readonly adapter: { readonly b: Place; readonly rank: number; readonly column: number } | null
}

export interface FewOperands extends FewShape {
  readonly plan: FewPlan
  readonly room: Room
  readonly dtype: Float
  /** Up to three of one encoding; of a pair the first one's `out` takes the result. */
  readonly matrices: ReadonlyArray<FewMatrix>
  readonly x: Rows
  /** x is normed first. Whole rows only: `parts` is 1. */
  readonly norm: { readonly w: Place; readonly eps: number } | null
  readonly residual: Rows | null
  /** Low-rank columns of the adapters. */
  readonly low: Rows | null
  /** f32, `fewWorkspaceBytes`. */
  readonly workspace: Place
}

const rowsOf = (m: { readonly type: TensorType }): number => m.type.shape[0]!
const sum = (list: ReadonlyArray<number>): number => list.reduce((a, b) => a + b, 0)

/** Sums of the parts, where there are several. */
export const fewWorkspaceBytes = (
  s: FewShape,
  { parts }: FewPlan,
  matrices: ReadonlyArray<{ readonly type: TensorType }>,
): number => (parts === 1 ? 0 : 4 * parts * s.rows * sum(matrices.map(rowsOf)))

/** A matrix of a launch, or that it has none there. */
export const matrixArgs = (m: FewMatrix | undefined): ReadonlyArray<Arg> => {
  if (m === undefined)
    return [nowhere, nowhere, nowhere, nowhere, u32(0), nowhere, u32(0), nowhere, u32(0), u32(0)]
  const p = places(m.type, m.offset)
  return [
    at(p.codes),
    at(p.scales),
    maybe(p.nested),
    maybe(p.mean),
    u32(rowsOf(m)),
    ...matrix(m.out),
    maybe(m.adapter?.b),
    u32(m.adapter?.rank ?? 0),
    u32(m.adapter?.column ?? 0),
  ]
}

export const fewKernel = (name: string, dtype: Float, plan: FewPlan, pair = false): Kernel =>
  kernel(
    'few.cu',
    name,
    {
      ...macros(dtype),
      WARPS: plan.warps,
      TILES: plan.tiles,
      BLOCKS: plan.blocks,
      PAIR: pair ? 1 : 0,
    },
    dtype === 'bf16' ? 80 : 75,
  )
/** One block of threads a multiprocessor; each takes tiles in turn. */
export const fewGrid = (
  tiles: number,
  { parts }: FewPlan,
  room: Room,
): readonly [number, number] => [Math.min(tiles, Math.max(1, Math.floor(room.sms / parts))), parts]

const adds = (o: Pick<FewOperands, 'residual' | 'low'>): ReadonlyArray<Arg> => [
  ...maybeMatrix(o.residual),
  ...maybeMatrix(o.low),
]

/** The parts of a split inner dimension added up. */
export const fewJoin = (
  o: Pick<FewOperands, 'plan' | 'rows' | 'dtype' | 'residual' | 'low' | 'workspace'>,
  matrices: ReadonlyArray<Arg>,
  width: number,
): KernelLaunch =>
  launch(
    fewKernel('few_join', o.dtype, o.plan),
    [divide(width, 256), o.rows],
    256,
    [...matrices, ...adds(o), at(o.workspace), u32(o.plan.parts)],
    4 * o.plan.parts * o.rows * width +
      o.rows * width * elementBytes[o.dtype] * (o.residual === null ? 1 : 2),
    o.plan.parts * o.rows * width,
  )

/** y = x·Wᵀ of every matrix, with adapters and the residual added, or swiglu of the two. */
export const few = (o: FewOperands): ReadonlyArray<KernelLaunch> => {
  const { plan, rows, k, pair, matrices } = o
  const heights = matrices.map(rowsOf)
  const tiles = pair ? divide(heights[0]!, 8) : sum(heights.map((n) => divide(n, 16)))
  const args = [0, 1, 2].flatMap((i) => matrixArgs(matrices[i]))
  const results = rows * (pair ? heights[0]! : sum(heights)) * elementBytes[o.dtype]
  const low = sum(matrices.map((m) => (m.adapter === null ? 0 : 4 * m.adapter.rank * rowsOf(m))))
  const partial = fewWorkspaceBytes(o, plan, matrices)
  const product = launch(
    fewKernel('few_rows', o.dtype, plan, pair),
    fewGrid(tiles, plan, o.room),
    32 * plan.warps,
    [
      ...args,
      ...matrix(o.x),
      maybe(o.norm?.w),
      f32(o.norm?.eps ?? 0),
      ...adds(o),
      plan.parts > 1 ? at(o.workspace) : nowhere,
      u32(rows),
      u32(k / 64),
      u32(plan.per),
    ],
    sum(matrices.map((m) => encodedBytes(m.type))) +
      low +
      rows * k * elementBytes[o.dtype] +
      (plan.parts > 1 ? partial : results * (o.residual === null ? 1 : 2)),
    2 * rows * k * sum(heights),
    sharedBytes(o, plan.warps, plan.per),
  )
  if (plan.parts === 1) return [product]
  const join = fewJoin(o, args, sum(heights))
  return [product, join]
}

export interface FewAdapter {
  /** f32 [rank, k]. */
  readonly a: Place
  readonly rank: number
  readonly by: number
}

/** u [rows, ranks] = by · x·Aᵀ of up to three adapters side by side. */
export const fewLow = (
  o: Pick<FewOperands, 'x' | 'norm' | 'rows' | 'k' | 'dtype' | 'plan'> & {
    readonly adapters: ReadonlyArray<FewAdapter>
    readonly out: Rows
  },
): KernelLaunch => {
  const ranks = sum(o.adapters.map((a) => a.rank))
  return launch(
    fewKernel('few_low', o.dtype, o.plan),
    [ranks],
    256,
    [
      ...[0, 1, 2].flatMap((i) => {
        const a = o.adapters[i]
        return [maybe(a?.a), u32(a?.rank ?? 0), f32(a?.by ?? 0)]
      }),
      ...matrix(o.x),
      maybe(o.norm?.w),
      f32(o.norm?.eps ?? 0),
      ...matrix(o.out),
      u32(o.rows),
      u32(o.k),
    ],
    4 * ranks * o.k + o.rows * (o.k + ranks) * elementBytes[o.dtype],
    2 * o.rows * o.k * ranks,
  )
}
