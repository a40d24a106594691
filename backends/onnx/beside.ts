/** Attention of one new token a row to a cache that does not hold it yet: its own key and value stand beside. */
import type { Heads } from '../../ir/algebra.ts'
import type { Value } from './model.ts'
import { CAST, int, type Nodes, type Site } from './site.ts'

const HIDDEN = -1e30

/** Added to scores: 0 where the entry is seen, −1e30 elsewhere. The cache's are [B, 1, 1, C], the token's own [B, 1, 1, 1]. */
const masks = (n: Nodes, positions: Value, batch: number, capacity: number) => {
  const at = n.reshape(n.cast(positions, CAST.f32), batch, 1, 1, 1)
  const index = n.f32(
    [1, 1, 1, capacity],
    Float32Array.from({ length: capacity }, (_, i) => i),
  )
  const shown = (seen: Value): Value => n.one('Where', [seen, n.scalar(0), n.scalar(HIDDEN)])
  return {
    past: shown(n.one('Less', [index, at])),
    // A row outside the cache is dropped.
    own: shown(n.one('Less', [at, n.scalar(capacity)])),
  }
}

/** [B, heads·dim] from q, the caches of keys and values [B, kv, C, dim], positions, and the new rows of both [B, kv·dim]. */
export const attendBeside = (s: Site<Heads>): Value => {
  const { n } = s
  const [q, keys, values, positions, key, value] = s.args as [
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
  ]
  const [batch, capacity, width] = s.types[1]!.shape as [number, number, number]
  const { heads, kvHeads } = s.attrs
  const dim = width / kvHeads
  const row = (x: Value): Value => n.reshape(x, batch, kvHeads, 1, dim)
  const query = n.reshape(q, batch, kvHeads, heads / kvHeads, dim)
  const hidden = masks(n, positions, batch, capacity)
  const score = (k: Value, mask: Value): Value =>
    n.add(n.matmul(query, k, { tb: true, alpha: 1 / Math.sqrt(dim) }), mask)
  const scores = n.concat(3, score(keys, hidden.past), score(row(key), hidden.own))
  const p = n.one('Softmax', [scores], { axis: int(-1) })
  const past = n.matmul(n.slice(p, 3, 0, capacity), values)
  const own = n.mul(n.slice(p, 3, capacity, capacity + 1), row(value))
  return n.reshape(n.add(past, own), batch, heads * dim)
}
