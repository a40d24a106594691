/** Attention as batched products over [rows, kv heads, group·tokens, dim]; scores live for one equation. */
import type { Heads } from '../../ir/algebra.ts'
import type { Value } from './model.ts'
import { CAST, float, int, type Nodes, type Site } from './site.ts'

interface Sizes {
  readonly rows: number
  readonly length: number
  readonly heads: number
  readonly kv: number
  readonly dim: number
}

const HIDDEN = -1e30

const sizesOf = (s: Site<Heads>): Sizes => {
  const [rows, length] = s.types[3]!.shape as [number, number]
  return {
    rows,
    length,
    heads: s.attrs.heads,
    kv: s.attrs.kvHeads,
    dim: s.types[0]!.shape[1]! / s.attrs.heads,
  }
}

/** [R·T, heads·d] to [R, heads, T, d]. */
const split = (n: Nodes, z: Sizes, x: Value, heads: number): Value =>
  n.transpose(n.reshape(x, z.rows, z.length, heads, z.dim), 0, 2, 1, 3)
const join = (n: Nodes, z: Sizes, x: Value, heads: number): Value =>
  n.reshape(
    n.transpose(n.reshape(x, z.rows, heads, z.length, z.dim), 0, 2, 1, 3),
    z.rows * z.length,
    heads * z.dim,
  )
/** Query heads of a group beside each other, so that one product serves them all. */
const grouped = (n: Nodes, z: Sizes, x: Value, last: number): Value =>
  n.reshape(x, z.rows, z.kv, (z.heads / z.kv) * z.length, last)

/** 0 where a key may be seen, −1e30 elsewhere: [R, 1, T, T]. */
const mask = (n: Nodes, z: Sizes, segments: Value): Value => {
  const t = z.length
  const causal = n.f32(
    [1, t, t],
    Float32Array.from({ length: t * t }, (_, i) => (i % t <= Math.floor(i / t) ? 0 : HIDDEN)),
  )
  const same = n.one('Equal', [
    n.reshape(segments, z.rows, t, 1),
    n.reshape(segments, z.rows, 1, t),
  ])
  return n.reshape(n.one('Where', [same, causal, n.scalar(HIDDEN)]), z.rows, 1, t, t)
}

const scores = (n: Nodes, z: Sizes, q: Value, k: Value, segments: Value): Value => {
  const raw = n.matmul(grouped(n, z, q, z.dim), k, { tb: true, alpha: 1 / Math.sqrt(z.dim) })
  return n.add(n.reshape(raw, z.rows, z.heads, z.length, z.length), mask(n, z, segments))
}
const softmax = (n: Nodes, x: Value): Value => n.one('Softmax', [x], { axis: int(-1) })

export const attention = (s: Site<Heads>): ReadonlyArray<Value> => {
  const { n } = s
  const z = sizesOf(s)
  const [q, k, v] = [
    split(n, z, s.args[0]!, z.heads),
    split(n, z, s.args[1]!, z.kv),
    split(n, z, s.args[2]!, z.kv),
  ]
  const raw = scores(n, z, q, k, s.args[3]!)
  const out = n.matmul(grouped(n, z, softmax(n, raw), z.length), v)
  const lse = n.one('ReduceLogSumExp', [raw, n.i64(3)], { keepdims: int(0) })
  return [
    join(n, z, out, z.heads),
    n.reshape(n.transpose(lse, 0, 2, 1), z.rows * z.length, z.heads),
  ]
}

/** Scores are computed again from q and k; out∘ct gives the row term of the softmax gradient (Dao 2023). */
export const attentionGrad = (s: Site<Heads>): ReadonlyArray<Value> => {
  const { n } = s
  const z = sizesOf(s)
  const [q, k, v] = [
    split(n, z, s.args[0]!, z.heads),
    split(n, z, s.args[1]!, z.kv),
    split(n, z, s.args[2]!, z.kv),
  ]
  const [out, ct] = [s.args[4]!, s.args[6]!]
  const p = grouped(n, z, softmax(n, scores(n, z, q, k, s.args[3]!)), z.length)
  const ctHeads = split(n, z, ct, z.heads)
  const delta = n.transpose(
    n.sumAxis(n.reshape(n.mul(ct, out), z.rows, z.length, z.heads, z.dim), 3),
    0,
    2,
    1,
    3,
  )
  // One product gives ct·vᵀ − delta: delta is a further column of ct, against a column of −1.
  const left = n.concat(3, grouped(n, z, ctHeads, z.dim), grouped(n, z, delta, 1))
  const right = n.concat(3, v, n.filled([z.rows, z.kv, z.length, 1], -1))
  const ds = n.mul(p, n.matmul(left, right, { tb: true }))
  const scale = 1 / Math.sqrt(z.dim)
  return [
    join(n, z, n.matmul(ds, k, { alpha: scale }), z.heads),
    join(n, z, n.matmul(ds, grouped(n, z, q, z.dim), { ta: true, alpha: scale }), z.kv),
    join(n, z, n.matmul(p, grouped(n, z, ctHeads, z.dim), { ta: true }), z.kv),
  ]
}

/** A token at position p sees cache entries 0…p. */
export const cachedAttention = (s: Site<Heads>): ReadonlyArray<Value> => {
  const { n } = s
  const [batch, capacity, width] = s.types[1]!.shape as [number, number, number]
  const length = s.types[3]!.shape[1]!
  const z: Sizes = {
    rows: batch,
    length,
    heads: s.attrs.heads,
    kv: s.attrs.kvHeads,
    dim: width / s.attrs.kvHeads,
  }
  const cache = (x: Value) => n.transpose(n.reshape(x, batch, capacity, z.kv, z.dim), 0, 2, 1, 3)
  const index = n.f32(
    [1, 1, capacity],
    Float32Array.from({ length: capacity }, (_, i) => i),
  )
  const later = n.one('Greater', [index, n.reshape(n.cast(s.args[3]!, CAST.f32), batch, length, 1)])
  const hidden = n.reshape(
    n.one('Where', [later, n.scalar(HIDDEN), n.scalar(0)]),
    batch,
    1,
    length,
    capacity,
  )
  const q = grouped(n, z, split(n, z, s.args[0]!, z.heads), z.dim)
  const raw = n.matmul(q, cache(s.args[1]!), { tb: true, alpha: 1 / Math.sqrt(z.dim) })
  const p = softmax(n, n.add(n.reshape(raw, batch, z.heads, length, capacity), hidden))
  const out = n.matmul(
    n.reshape(p, batch, z.kv, (z.heads / z.kv) * length, capacity),
    cache(s.args[2]!),
  )
  return [join(n, z, out, z.heads)]
}

/** Writes x[b, t] into cache[b, position[b, t]]. */
export const cacheWrite = (s: Site<object>): ReadonlyArray<Value> => {
  const { n } = s
  const [batch, , width] = s.types[0]!.shape as [number, number, number]
  const length = s.types[2]!.shape[1]!
  const rows = n.f32(
    [batch, length, 1],
    Float32Array.from({ length: batch * length }, (_, i) => Math.floor(i / length)),
  )
  const at = n.concat(
    2,
    n.cast(rows, CAST.i64),
    n.cast(n.reshape(s.args[2]!, batch, length, 1), CAST.i64),
  )
  return [n.one('ScatterND', [s.args[0]!, at, n.reshape(s.args[1]!, batch, length, width)])]
}

/** onnxruntime's rotary embedding reads tables by position; ours have a row a token already. */
export const rope = (s: Site<{ inverse: boolean }>): ReadonlyArray<Value> => {
  const { n } = s
  const [tokens, width] = s.types[0]!.shape as [number, number]
  const heads = width / (2 * s.types[1]!.shape[1]!)
  const sin = s.attrs.inverse ? n.one('Neg', [s.args[2]!]) : s.args[2]!
  const at = n.reshape(n.i64(...Array.from({ length: tokens }, (_, i) => i)), 1, tokens)
  const turned = n.one(
    'RotaryEmbedding',
    [n.reshape(s.args[0]!, 1, tokens, width), at, s.args[1]!, sin],
    { num_heads: int(heads), scale: float(1) },
    { domain: 'com.microsoft' },
  )
  return [n.reshape(turned, tokens, width)]
}
