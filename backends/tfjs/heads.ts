/** Rows of tokens as heads: [R·T, heads·d] and [R, kv, group·T, d]. */
import type { Nodes, Value } from './nodes.ts'

export interface Sizes {
  readonly rows: number
  /** Tokens of a row. */
  readonly length: number
  readonly heads: number
  readonly kv: number
  readonly dim: number
}

/** A score that no softmax sees. */
export const HIDDEN = -1e30

/** Query heads of a group lie beside each other: [R, kv, group, T, last]. */
export const grouped = (n: Nodes, z: Sizes, x: Value, last: number): Value =>
  n.transpose(n.reshape(x, z.rows, z.length, z.kv, z.heads / z.kv, last), 0, 2, 3, 1, 4)

/** The inverse: back to one row a token. */
export const ungrouped = (n: Nodes, z: Sizes, x: Value, last: number): Value =>
  n.reshape(n.transpose(x, 0, 3, 1, 2, 4), z.rows * z.length, z.heads * last)

/** Keys or values: [R, kv, T, d]. */
export const perKv = (n: Nodes, z: Sizes, x: Value): Value =>
  n.transpose(n.reshape(x, z.rows, z.length, z.kv, z.dim), 0, 2, 1, 3)

export const fromKv = (n: Nodes, z: Sizes, x: Value): Value =>
  n.reshape(n.transpose(x, 0, 2, 1, 3), z.rows * z.length, z.kv * z.dim)
