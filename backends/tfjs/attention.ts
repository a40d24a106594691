/** Attention in stretches of queries: scores live for one stretch, and a stretch looks at the keys before its end only. */
import type { Heads } from '../../ir/algebra.ts'
import { fromKv, grouped, HIDDEN, perKv, ungrouped, type Sizes } from './heads.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf, Site } from './site.ts'

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

/** 0 where a key may be seen, −1e30 elsewhere: [R, 1, T, T]. */
const mask = (n: Nodes, z: Sizes, segments: Value): Value => {
  const t = z.length
  const at = n.range(t)
  const causal = n.one('GreaterEqual', [n.reshape(at, t, 1), n.reshape(at, 1, t)])
  const same = n.one('Equal', [
    n.reshape(segments, z.rows, 1, t, 1),
    n.reshape(segments, z.rows, 1, 1, t),
  ])
  return n.where(n.one('LogicalAnd', [same, causal]), n.scalar(0), n.scalar(HIDDEN))
}

interface Stretch {
  readonly from: number
  readonly to: number
}

/** Queries of a stretch where rows are long; below twice this, cutting costs more than it saves. */
const QUERIES = 96

const stretches = (z: Sizes): ReadonlyArray<Stretch> => {
  const count = z.length < 2 * QUERIES ? 1 : Math.ceil(z.length / QUERIES)
  const size = Math.ceil(z.length / count)
  return Array.from({ length: Math.ceil(z.length / size) }, (_, i) => ({
    from: i * size,
    to: Math.min(z.length, (i + 1) * size),
  }))
}

/** A stretch of [R, kv, group, T, last] as [R, kv, group·queries, last]. */
const queries = (n: Nodes, z: Sizes, x: Value, last: number, { from, to }: Stretch): Value =>
  n.reshape(n.slice(x, 3, from, to), z.rows, z.kv, (z.heads / z.kv) * (to - from), last)

const unqueries = (n: Nodes, z: Sizes, x: Value, last: number, { from, to }: Stretch): Value =>
  n.reshape(x, z.rows, z.kv, z.heads / z.kv, to - from, last)

const seen = (n: Nodes, x: Value, { to }: Stretch): Value => n.slice(x, 2, 0, to)

/** Masked scores of a stretch, [R, kv, group·queries, keys]. */
const scores = (n: Nodes, z: Sizes, q: Value, k: Value, hidden: Value, s: Stretch): Value => {
  const count = s.to - s.from
  const raw = n.mul(
    n.matmul(queries(n, z, q, z.dim, s), seen(n, k, s), { tb: true }),
    n.scalar(1 / Math.sqrt(z.dim)),
  )
  const part = n.slice(n.slice(hidden, 2, s.from, s.to), 3, 0, s.to)
  const masked = n.add(n.reshape(raw, z.rows, z.heads, count, s.to), part)
  return n.reshape(masked, z.rows, z.kv, (z.heads / z.kv) * count, s.to)
}

export const attention: KernelOf<'attention'> = (site) => {
  const { n } = site
  const z = sizesOf(site)
  const [q, k, v, segments] = site.args as [Value, Value, Value, Value]
  const [qs, ks, vs] = [grouped(n, z, q, z.dim), perKv(n, z, k), perKv(n, z, v)]
  const hidden = mask(n, z, segments)
  const parts = stretches(z).map((s) =>
    n.scoped(() => {
      const raw = scores(n, z, qs, ks, hidden, s)
      const top = n.max(raw, [3], true)
      const e = n.exp(n.sub(raw, top))
      const total = n.sum(e, [3], true)
      const out = n.div(n.matmul(e, seen(n, vs, s)), total)
      return [unqueries(n, z, out, z.dim, s), unqueries(n, z, n.add(top, n.log(total)), 1, s)]
    }),
  )
  return [
    ungrouped(n, z, n.concat(3, ...parts.map((p) => p[0]!)), z.dim),
    ungrouped(n, z, n.concat(3, ...parts.map((p) => p[1]!)), 1),
  ]
}

/** Gradients by keys of all stretches; a stretch says nothing of keys after its end. */
const summed = (n: Nodes, z: Sizes, xs: ReadonlyArray<Value>): Value => {
  const padded = xs.map((x) => {
    const gap = z.length - x.shape[2]!
    return gap === 0 ? x : n.one('Pad', [x, n.words([4, 2], [0, 0, 0, 0, 0, gap, 0, 0])])
  })
  return padded.reduce((a, b) => n.add(a, b))
}

/** Probabilities come from the scores and the log-sum-exp; out∘ct gives the row term of the softmax's gradient (Dao 2023). */
export const attentionGrad: KernelOf<'attentionGrad'> = (site) => {
  const { n } = site
  const z = sizesOf(site)
  const [q, k, v, segments, out, lse, ct] = site.args as ReadonlyArray<Value> as [
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
    Value,
  ]
  const [qs, ks, vs] = [grouped(n, z, q, z.dim), perKv(n, z, k), perKv(n, z, v)]
  const [cts, lses] = [grouped(n, z, ct, z.dim), grouped(n, z, lse, 1)]
  const rowTerm = n.sum(n.reshape(n.mul(ct, out), z.rows * z.length, z.heads, z.dim), [2])
  const [hidden, terms] = [mask(n, z, segments), grouped(n, z, rowTerm, 1)]
  const factor = n.scalar(1 / Math.sqrt(z.dim))
  const parts = stretches(z).map((s) =>
    n.scoped(() => {
      const p = n.exp(n.sub(scores(n, z, qs, ks, hidden, s), queries(n, z, lses, 1, s)))
      const c = queries(n, z, cts, z.dim, s)
      const dp = n.sub(n.matmul(c, seen(n, vs, s), { tb: true }), queries(n, z, terms, 1, s))
      const ds = n.mul(n.mul(p, dp), factor)
      return [
        unqueries(n, z, n.matmul(ds, seen(n, ks, s)), z.dim, s),
        n.matmul(ds, queries(n, z, qs, z.dim, s), { ta: true }),
        n.matmul(p, c, { ta: true }),
      ]
    }),
  )
  const each = (i: number) => parts.map((p) => p[i]!)
  return [
    ungrouped(n, z, n.concat(3, ...each(0)), z.dim),
    fromKv(n, z, summed(n, z, each(1))),
    fromKv(n, z, summed(n, z, each(2))),
  ]
}
