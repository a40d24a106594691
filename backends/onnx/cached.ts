/** Caches as ordinary values: written by a scatter, attended to whole. */
import type { Heads } from '../../ir/algebra.ts'
import { grouped, HIDDEN, join, softmax, split, type Sizes } from './heads.ts'
import type { Value } from './model.ts'
import { CAST, type Site } from './site.ts'

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
