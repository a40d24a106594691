/** Cards of attention for any head width, length and type, and of attention over caches. The tensor-core kernels are in fast.ts. */
import type { Float } from '../../../ir/type.ts'
import {
  at,
  elementBytes,
  divide,
  f32,
  kernel,
  launch,
  matrix,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

export interface AttentionDims {
  /** Packed rows, and tokens of each. */
  readonly rows: number
  readonly length: number
  readonly heads: number
  readonly kvHeads: number
  /** Width of a head. */
  readonly dim: number
  readonly dtype: Float
}
export interface AttentionOperands extends AttentionDims {
  readonly q: Rows
  readonly k: Rows
  readonly v: Rows
  /** i32 [rows · length]. */
  readonly segments: Place
  readonly out: Rows
  /** f32 [tokens, heads], natural logarithm. */
  readonly lse: Place
}
export interface AttentionGradOperands extends AttentionOperands {
  readonly ct: Rows
  readonly dq: Rows
  readonly dk: Rows
  readonly dv: Rows
  readonly workspace: Place
}

const SHARED = 48 * 1024
/** As many warps as fit the shared memory that every GPU has, up to four. */
const warps = (bytesPerWarp: number): number =>
  Math.max(1, Math.min(4, Math.floor(SHARED / bytesPerWarp)))

export const tokens = (o: AttentionDims): number => o.rows * o.length
export const scale = (o: AttentionDims): number => 1 / Math.sqrt(o.dim)
const dims = (o: AttentionDims) => [
  u32(tokens(o)),
  u32(o.length),
  u32(o.heads),
  u32(o.heads / o.kvHeads),
  u32(o.dim),
  f32(scale(o)),
]
/** Products over the causal half. */
export const flops = (o: AttentionDims, products: number): number =>
  products * tokens(o) * o.heads * o.dim * o.length
/** Bytes of matrices as wide as all query heads, and as all key heads. */
export const moved = (o: AttentionDims, queries: number, keys: number): number =>
  tokens(o) * o.dim * elementBytes[o.dtype] * (queries * o.heads + keys * o.kvHeads)

const warped = (
  name: string,
  o: AttentionDims,
  items: number,
  floats: number,
  args: KernelLaunch['args'],
  cost: readonly [bytes: number, flops: number],
): KernelLaunch => {
  const n = warps(4 * floats)
  return launch(
    kernel('attention.cu', name, { ...macros(o.dtype), WARPS: n }),
    [divide(items, n)],
    32 * n,
    args,
    ...cost,
    4 * floats * n,
  )
}

export const attention = (o: AttentionOperands): KernelLaunch =>
  warped(
    'attention_forward',
    o,
    tokens(o) * o.heads,
    2 * o.dim + 32,
    [...[o.q, o.k, o.v].flatMap(matrix), at(o.segments), ...matrix(o.out), at(o.lse), ...dims(o)],
    [moved(o, 2, 2), flops(o, 2)],
  )

/** One f32 a token and head. */
export const attentionGradWorkspaceBytes = (o: AttentionDims): number => 4 * tokens(o) * o.heads

export const attentionGrad = (o: AttentionGradOperands): ReadonlyArray<KernelLaunch> => [
  warped(
    'attention_grad_queries',
    o,
    tokens(o) * o.heads,
    3 * o.dim + 32,
    [
      ...[o.q, o.k, o.v].flatMap(matrix),
      at(o.segments),
      ...matrix(o.out),
      at(o.lse),
      ...matrix(o.ct),
      at(o.workspace),
      ...matrix(o.dq),
      ...dims(o),
    ],
    [moved(o, 4, 2), flops(o, 3)],
  ),
  warped(
    'attention_grad_keys',
    o,
    tokens(o) * o.kvHeads,
    4 * o.dim + 64,
    [
      ...[o.q, o.k, o.v].flatMap(matrix),
      at(o.segments),
      at(o.lse),
      at(o.workspace),
      ...matrix(o.ct),
      ...matrix(o.dk),
      ...matrix(o.dv),
      ...dims(o),
    ],
    [moved(o, 2, 4), flops(o, 4)],
  ),
]

export interface CacheDims {
  readonly batch: number
  /** New tokens of each row. */
  readonly length: number
  readonly capacity: number
  readonly dtype: Float
  /** i32 [batch · length]. */
  readonly positions: Place
}

/** Writes rows of x [batch · length, width] into a cache [batch, capacity, width] in place. */
export const cacheWrite = (
  o: CacheDims & { readonly cache: Place; readonly x: Rows; readonly width: number },
): KernelLaunch =>
  launch(
    kernel('attention.cu', 'cache_write', macros(o.dtype)),
    [o.batch * o.length],
    128,
    [at(o.cache), ...matrix(o.x), at(o.positions), u32(o.length), u32(o.capacity), u32(o.width)],
    2 * o.batch * o.length * o.width * elementBytes[o.dtype],
    0,
  )

/** Queries [batch · length, heads · dim] over caches [batch, capacity, kvHeads · dim]. */
export const cachedAttention = (
  o: CacheDims & {
    readonly q: Rows
    readonly k: Place
    readonly v: Place
    readonly out: Rows
    readonly heads: number
    readonly kvHeads: number
    readonly dim: number
  },
): KernelLaunch => {
  const n = warps(4 * (2 * o.dim + 34))
  const items = o.batch * o.length
  return launch(
    kernel('attention.cu', 'cached_attention', { ...macros(o.dtype), WARPS: n }),
    [items, o.heads],
    32 * n,
    [
      ...matrix(o.q),
      at(o.k),
      at(o.v),
      at(o.positions),
      ...matrix(o.out),
      u32(o.length),
      u32(o.capacity),
      u32(o.heads),
      u32(o.heads / o.kvHeads),
      u32(o.dim),
      f32(1 / Math.sqrt(o.dim)),
    ],
    2 * o.batch * o.capacity * o.kvHeads * o.dim * elementBytes[o.dtype],
    4 * items * o.heads * o.dim * o.capacity,
    4 * (n * (o.dim + 34) + o.dim),
  )
}
