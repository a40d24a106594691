/** Heads: how activations [R·T, heads·d] become what batched products take. */
import type { Value } from './model.ts'
import { int, type Nodes } from './site.ts'

export interface Sizes {
  readonly rows: number
  readonly length: number
  readonly heads: number
  readonly kv: number
  readonly dim: number
}

export const HIDDEN = -1e30

/** [R·T, heads·d] to [R, heads, T, d]. */
export const split = (n: Nodes, z: Sizes, x: Value, heads: number): Value =>
  n.transpose(n.reshape(x, z.rows, z.length, heads, z.dim), 0, 2, 1, 3)
export const join = (n: Nodes, z: Sizes, x: Value, heads: number): Value =>
  n.reshape(
    n.transpose(n.reshape(x, z.rows, heads, z.length, z.dim), 0, 2, 1, 3),
    z.rows * z.length,
    heads * z.dim,
  )
/** Query heads of a group beside each other, so that one product serves them all. */
export const grouped = (n: Nodes, z: Sizes, x: Value, last: number): Value =>
  n.reshape(x, z.rows, z.kv, (z.heads / z.kv) * z.length, last)

/** Probabilities over the last axis. */
export const softmax = (n: Nodes, x: Value): Value => n.one('Softmax', [x], { axis: int(-1) })
