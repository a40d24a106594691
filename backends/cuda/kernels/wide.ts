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
import type { KernelLaunch, Place, Rows } from './card.ts'
import { fewGrid, fewJoin, fewKernel, matrixArgs, splitOf, type FewPlan, type Room } from './few.ts'

export interface WideShape {
  readonly rows: number
  /** Inner dimension, a multiple of 32. */
  readonly k: number
}

const sharedBytes = (rows: number, warps: number, per: number): number =>
  2 * rows * (per * 32 + 32) + 2 * warps * rows * 16 * 4

export const widePlan = (s: WideShape, room: Room): FewPlan | null =>
  s.k % 32 === 0
    ? splitOf(
        s.rows,
        s.k / 32,
        (warps, per) => sharedBytes(s.rows, warps, per),
        room,
        () => 4,
      )
    : null

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
  const result = [
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
  return [product, fewJoin({ ...o, low: null }, [...result, ...none, ...none], n)]
}
