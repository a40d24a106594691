/** Card of products of a handful of rows with 16-bit weights: each weight is read once. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  divide,
  elementBytes,
  f32,
  launch,
  matrix,
  maybe,
  maybeMatrix,
  nowhere,
  u32,
} from './card.ts'
import type { Arg, KernelLaunch, Place, Rows } from './card.ts'
import { FEW, sumBytes, tilesOf, warpsFor, type FewPlan, type Room } from './few-plan.ts'
import { fewGrid, fewJoin, fewKernel, matrixArgs } from './few.ts'

/** Shared memory that the kernel has besides the dynamic one. */
const STATIC = 512
/** Thirty-twos that a warp takes at a time. */
const PIECE = 4

export interface WideShape {
  readonly rows: number
  /** Inner dimension, a multiple of 32. */
  readonly k: number
}

const sharedBytes = (rows: number, warps: number, per: number): number =>
  2 * rows * (per * 32 + 32) + sumBytes(warps, rows)

/** The fewest parts of the inner dimension whose columns of x fit shared memory; one part needs no joining. */
export const widePlan = ({ rows, k }: WideShape, room: Room): FewPlan | null => {
  if (rows < 1 || rows > FEW || k % 32 !== 0) return null
  const tiles = tilesOf(rows)
  for (let parts = 1; parts <= k / 32; parts++) {
    const per = divide(k / 32, parts)
    // More rows need more registers.
    const warps = warpsFor(divide(per, PIECE), tiles > 2 ? 12 : 16)
    if (sharedBytes(rows, warps, per) <= room.shared - STATIC)
      return { warps, blocks: PIECE, tiles, parts: divide(k / 32, per), per }
  }
  return null
}

export const wideWorkspaceBytes = (s: WideShape, { parts }: FewPlan, n: number): number =>
  parts === 1 ? 0 : 4 * parts * s.rows * n

/** y = (normed) x·Wᵀ + residual. */
export const wide = (
  o: WideShape & {
    readonly plan: FewPlan
    readonly room: Room
    readonly dtype: Float
    readonly n: number
    /** [n, k] of `dtype`, rows at multiples of 16 bytes. */
    readonly weights: Rows
    readonly x: Rows
    readonly norm: { readonly w: Place; readonly eps: number } | null
    readonly residual: Rows | null
    readonly out: Rows
    readonly workspace: Place
  },
): ReadonlyArray<KernelLaunch> => {
  const { plan, rows, k, n } = o
  const split = plan.parts > 1
  const each = elementBytes[o.dtype]
  const product = launch(
    fewKernel('few_wide', o.dtype, plan),
    fewGrid(divide(n, 16), plan, o.room),
    32 * plan.warps,
    [
      ...matrix(o.weights),
      u32(n),
      ...matrix(o.out),
      ...matrix(o.x),
      maybe(o.norm?.w),
      f32(o.norm?.eps ?? 0),
      ...maybeMatrix(o.residual),
      split ? at(o.workspace) : nowhere,
      u32(rows),
      u32(k / 32),
      u32(plan.per),
    ],
    n * k * each +
      rows * k * each +
      (split ? wideWorkspaceBytes(o, plan, n) : rows * n * each * (o.residual === null ? 1 : 2)),
    2 * rows * k * n,
    sharedBytes(rows, plan.warps, plan.per),
  )
  if (!split) return [product]
  const result: ReadonlyArray<Arg> = [
    nowhere,
    nowhere,
    nowhere,
    nowhere,
    u32(n),
    ...matrix(o.out),
    nowhere,
    u32(0),
    u32(0),
  ]
  const none = matrixArgs(undefined)
  return [product, fewJoin({ ...o, low: null, pair: false, after: null }, [result, none, none], n)]
}
