/** Cards of products of a handful of rows with 4-bit weights: the codes are read once, nothing decoded is written. */
import type { Float, TensorType } from '../../../ir/type.ts'
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
import { sharedBytes, type FewPlan, type FewShape, type Room } from './few-plan.ts'
import { encodedBytes, places } from './nf4.ts'

export interface FewMatrix {
  readonly type: TensorType
  readonly offset: Place
  readonly out: Rows
  /** B f32 [n, rank], and the first of its low-rank columns. */
  readonly adapter: { readonly b: Place; readonly rank: number; readonly column: number } | null
}

export interface Norm {
  readonly w: Place
  readonly eps: number
}

export interface FewOperands extends FewShape {
  readonly plan: FewPlan
  readonly room: Room
  readonly dtype: Float
  /** Up to three of one encoding; of a pair the first one's `out` takes the result. */
  readonly matrices: ReadonlyArray<FewMatrix>
  /** At multiples of 16 bytes. */
  readonly x: Rows
  /** x is normed first; not in parts. */
  readonly norm: Norm | null
  readonly residual: Rows | null
  /** The one result normed beside it; in parts alone. */
  readonly after: (Norm & { readonly out: Rows }) | null
  /** Low-rank columns of the adapters. */
  readonly low: Rows | null
  /** f32, `fewWorkspaceBytes`. */
  readonly workspace: Place
}

const rowsOf = (m: { readonly type: TensorType }): number => m.type.shape[0]!
const sum = (list: ReadonlyArray<number>): number => list.reduce((a, b) => a + b, 0)

/** Sums of the parts, where there are any. */
export const fewWorkspaceBytes = (
  s: FewShape,
  { parts }: FewPlan,
  matrices: ReadonlyArray<{ readonly type: TensorType }>,
): number => 4 * parts * s.rows * sum(matrices.map(rowsOf))

const source = (m: FewMatrix | undefined): ReadonlyArray<Arg> => {
  if (m === undefined) return [nowhere, nowhere, nowhere, nowhere, u32(0)]
  const p = places(m.type, m.offset)
  return [at(p.codes), at(p.scales), maybe(p.nested), maybe(p.mean), u32(rowsOf(m))]
}

/** A matrix of a launch, or that it has none there. */
export const matrixArgs = (m: FewMatrix | undefined): ReadonlyArray<Arg> => [
  ...source(m),
  ...(m === undefined ? [nowhere, u32(0)] : matrix(m.out)),
  maybe(m?.adapter?.b),
  u32(m?.adapter?.rank ?? 0),
  u32(m?.adapter?.column ?? 0),
]

export const fewKernel = (
  name: string,
  dtype: Float,
  plan: FewPlan,
  more: Readonly<Record<string, number>> = {},
): Kernel =>
  kernel(
    'few.cu',
    name,
    { ...macros(dtype), WARPS: plan.warps, TILES: plan.tiles, BLOCKS: plan.blocks, ...more },
    dtype === 'bf16' ? 80 : 75,
  )

/** One block of threads a multiprocessor; each takes tiles in turn. */
export const fewGrid = (
  tiles: number,
  { parts }: FewPlan,
  room: Room,
): readonly [number, number] => {
  const side = Math.max(1, parts)
  return [Math.min(tiles, Math.max(1, Math.floor(room.sms / side))), side]
}

const adds = (o: Pick<FewOperands, 'residual' | 'low'>): ReadonlyArray<Arg> => [
  ...maybeMatrix(o.residual),
  ...maybeMatrix(o.low),
]

type Joined = Pick<
  FewOperands,
  'plan' | 'rows' | 'dtype' | 'residual' | 'low' | 'workspace' | 'pair' | 'after'
>

/** The parts of a split inner dimension added up, `width` columns in all. */
export const fewJoin = (
  o: Joined,
  matrices: ReadonlyArray<ReadonlyArray<Arg>>,
  width: number,
): KernelLaunch => {
  const results = o.rows * (o.pair ? width / 2 : width) * elementBytes[o.dtype]
  const bytes =
    4 * o.plan.parts * o.rows * width +
    results * ((o.residual === null ? 1 : 2) + (o.after === null ? 0 : 1))
  const flops = o.plan.parts * o.rows * width
  const parts = [at(o.workspace), u32(o.plan.parts)]
  return o.after === null
    ? launch(
        fewKernel('few_join', o.dtype, o.plan),
        [divide(o.pair ? width / 2 : width, 256), o.rows],
        256,
        [...matrices.flat(), ...adds(o), ...parts, u32(o.pair ? 1 : 0)],
        bytes,
        flops,
      )
    : launch(
        fewKernel('few_join_norm', o.dtype, o.plan),
        [o.rows],
        1024,
        [
          ...matrices[0]!,
          ...adds(o),
          ...parts,
          at(o.after.w),
          f32(o.after.eps),
          ...matrix(o.after.out),
        ],
        bytes,
        flops,
      )
}

/** A bug of ours: the kernels read rows by 16 bytes. */
const checked = (x: Rows): Rows => {
  if (x.offset % 16 !== 0 || x.ld % 8 !== 0) throw new Error('rows of x are not aligned')
  return x
}

const wholeLaunch = (o: FewOperands): KernelLaunch => {
  const { plan, rows, k, pair, matrices, room } = o
  const heights = matrices.map(rowsOf)
  const tiles = pair ? divide(heights[0]!, 8) : sum(heights.map((n) => divide(n, 16)))
  const results = rows * (pair ? heights[0]! : sum(heights)) * elementBytes[o.dtype]
  const more = {
    PAIR: pair ? 1 : 0,
    ...nestedOf(matrices),
  }
  return launch(
    fewKernel('few_rows', o.dtype, plan, more),
    fewGrid(tiles, plan, room),
    32 * (plan.warps + 1),
    [
      ...[0, 1, 2].flatMap((i) => matrixArgs(matrices[i])),
      ...matrix(checked(o.x)),
      maybe(o.norm?.w),
      f32(o.norm?.eps ?? 0),
      ...adds(o),
      u32(rows),
      u32(k / 64),
    ],
    codesBytes(o) + results * (o.residual === null ? 1 : 2),
    2 * rows * k * sum(heights),
    sharedBytes(o, plan),
  )
}

const nestedOf = (matrices: ReadonlyArray<FewMatrix>): Readonly<Record<string, number>> => ({
  NESTED: places(matrices[0]!.type, 0).nested === null ? 0 : 1,
})

/** Codes, x, and what adapters add. */
const codesBytes = (o: FewOperands): number =>
  sum(o.matrices.map((m) => encodedBytes(m.type))) +
  sum(o.matrices.map((m) => (m.adapter === null ? 0 : 4 * m.adapter.rank * rowsOf(m)))) +
  o.rows * o.k * elementBytes[o.dtype]

const partsLaunch = (o: FewOperands): KernelLaunch => {
  const { plan, rows, k, matrices, room } = o
  const heights = matrices.map(rowsOf)
  return launch(
    fewKernel('few_parts', o.dtype, plan, nestedOf(matrices)),
    fewGrid(sum(heights.map((n) => divide(n, 16))), plan, room),
    32 * plan.warps,
    [
      ...[0, 1, 2].flatMap((i) => source(matrices[i])),
      ...matrix(checked(o.x)),
      at(o.workspace),
      u32(rows),
      u32(k / 64),
      u32(plan.per),
    ],
    codesBytes(o) + fewWorkspaceBytes(o, plan, matrices),
    2 * rows * k * sum(heights),
    sharedBytes(o, plan),
  )
}

/** y = x·Wᵀ of every matrix, with adapters and the residual added, or swiglu of the two. */
export const few = (o: FewOperands): ReadonlyArray<KernelLaunch> =>
  o.plan.parts === 0
    ? [wholeLaunch(o)]
    : [
        partsLaunch(o),
        fewJoin(
          o,
          [0, 1, 2].map((i) => matrixArgs(o.matrices[i])),
          sum(o.matrices.map(rowsOf)),
        ),
      ]

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
    [ranks, divide(o.rows, 4)],
    256,
    [
      ...[0, 1, 2].flatMap((i) => {
        const a = o.adapters[i]
        return [maybe(a?.a), u32(a?.rank ?? 0), f32(a?.by ?? 0)]
      }),
      ...matrix(checked(o.x)),
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
