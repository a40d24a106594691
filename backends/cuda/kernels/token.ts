/** Cards of one more token of each sequence: rotation, cache and attention in one launch. */
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
  nowhere,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

export interface TokenShape {
  /** Sequences. */
  readonly batch: number
  readonly capacity: number
  readonly heads: number
  readonly kvHeads: number
  /** Width of a head. */
  readonly dim: number
}

/** Query heads of a key head that registers hold. */
const MOST_HEADS = 8
/** Entries of a cache that are worth a part of their own. */
const PART = 256
const WARPS = 8

export const tokenFits = (s: TokenShape): boolean => {
  const lanes = s.dim / 8
  return [1, 2, 4, 8, 16, 32].includes(lanes) && s.heads / s.kvHeads <= MOST_HEADS
}

/** Parts of each cache: until the GPU is full twice over. */
export const tokenParts = (s: TokenShape, sms: number): number =>
  Math.max(1, Math.min(divide(2 * sms, s.batch * s.kvHeads), Math.floor(s.capacity / PART)))

/** What the parts leave to be joined. */
export const tokenWorkspaceBytes = (s: TokenShape, parts: number): number =>
  parts === 1 ? 0 : 4 * s.batch * s.heads * parts * (s.dim + 2)

/** Turns q and k, writes k and v into their caches [batch, capacity, kvHeads · dim] in place, and attends to them. */
export const token = (
  o: TokenShape & {
    readonly dtype: Float
    readonly q: Rows
    readonly k: Rows
    readonly v: Rows
    /** f32 [batch, dim / 2] */
    readonly cos: Place
    readonly sin: Place
    readonly keys: Place
    readonly values: Place
    /** i32 [batch] */
    readonly positions: Place
    readonly out: Rows
    readonly parts: number
    readonly workspace: Place
  },
): ReadonlyArray<KernelLaunch> => {
  const defines = { ...macros(o.dtype), D: o.dim, G: o.heads / o.kvHeads, WARPS }
  const partial = o.parts === 1 ? nowhere : at(o.workspace)
  const rows = o.batch * o.dim * elementBytes[o.dtype]
  const main = launch(
    kernel('token.cu', 'token_attention', defines),
    [o.kvHeads, o.batch, o.parts],
    32 * WARPS,
    [
      ...matrix(o.q),
      ...matrix(o.k),
      ...matrix(o.v),
      at(o.cos),
      at(o.sin),
      at(o.keys),
      at(o.values),
      at(o.positions),
      ...matrix(o.out),
      partial,
      u32(o.capacity),
      f32(1 / Math.sqrt(o.dim)),
    ],
    rows * (2 * o.heads + 2 * o.kvHeads * (o.capacity + 1)),
    4 * o.batch * o.heads * o.dim * o.capacity,
  )
  if (o.parts === 1) return [main]
  const join = launch(
    kernel('token.cu', 'token_join', defines),
    [o.heads, o.batch],
    128,
    [at(o.workspace), ...matrix(o.out), u32(o.parts)],
    tokenWorkspaceBytes(o, o.parts) + rows * o.heads,
    2 * o.parts * o.batch * o.heads * o.dim,
  )
  return [main, join]
}
