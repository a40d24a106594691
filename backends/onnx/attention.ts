/** Attention as batched products over [rows, kv heads, group·tokens, dim]; scores live for one equation. */
import type { Heads } from '../../ir/algebra.ts'
import { HIDDEN, join, softmax, split, type Sizes } from './heads.ts'
import type { Value } from './model.ts'
import { int, type Nodes, type Site } from './site.ts'

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

/** A stretch of queries, which see the keys before its end: half the work of a long row is not done. */
interface Block {
  readonly from: number
  readonly to: number
}

/** Queries of a block where rows are long; below twice this, cutting costs more than it saves. */
const BLOCK = 96

const blocksOf = (z: Sizes): ReadonlyArray<Block> => {
  const count = z.length < 2 * BLOCK ? 1 : Math.ceil(z.length / BLOCK)
  const size = Math.ceil(z.length / count)
  return Array.from({ length: count }, (_, i) => ({
    from: i * size,
    to: Math.min(z.length, (i + 1) * size),
  }))
}

const cut = (n: Nodes, z: Sizes, x: Value, axis: number, from: number, to: number): Value =>
  from === 0 && to === z.length ? x : n.slice(x, axis, from, to)

/** The block's rows of a per-query value [R, heads, T, last], query heads of a group beside each other. */
const queries = (n: Nodes, z: Sizes, x: Value, last: number, { from, to }: Block): Value => {
  const group = z.heads / z.kv
  const wide = n.reshape(x, z.rows, z.kv, group, z.length, last)
  return n.reshape(cut(n, z, wide, 3, from, to), z.rows, z.kv, group * (to - from), last)
}
/** The keys or values a block may see, [R, kv, to, d]. */
const seen = (n: Nodes, z: Sizes, x: Value, { to }: Block): Value => cut(n, z, x, 2, 0, to)

/** Blocks of [R, kv, group·queries, last] back to [R, heads, T, last]. */
const whole = (
  n: Nodes,
  z: Sizes,
  blocks: ReadonlyArray<Block>,
  xs: ReadonlyArray<Value>,
  last: number,
): Value => {
  const group = z.heads / z.kv
  const parts = xs.map((x, i) =>
    n.reshape(x, z.rows, z.kv, group, blocks[i]!.to - blocks[i]!.from, last),
  )
  return n.reshape(n.concat(3, ...parts), z.rows, z.heads, z.length, last)
}

/** Masked scores of a block, [R, heads, queries, keys]. */
const scores = (n: Nodes, z: Sizes, q: Value, k: Value, hidden: Value, block: Block): Value => {
  const { from, to } = block
  const raw = n.matmul(queries(n, z, q, z.dim, block), seen(n, z, k, block), {
    tb: true,
    alpha: 1 / Math.sqrt(z.dim),
  })
  const part = cut(n, z, cut(n, z, hidden, 2, from, to), 3, 0, to)
  return n.add(n.reshape(raw, z.rows, z.heads, to - from, to), part)
}

/** Probabilities of a block, [R, kv, group·queries, keys]. */
const probabilities = (n: Nodes, z: Sizes, raw: Value, { from, to }: Block): Value =>
  n.reshape(softmax(n, raw), z.rows, z.kv, (z.heads / z.kv) * (to - from), to)

const heads3 = (s: Site<Heads>, z: Sizes): readonly [Value, Value, Value] => [
  split(s.n, z, s.args[0]!, z.heads),
  split(s.n, z, s.args[1]!, z.kv),
  split(s.n, z, s.args[2]!, z.kv),
]

export const attention = (s: Site<Heads>): ReadonlyArray<Value> => {
  const { n } = s
  const z = sizesOf(s)
  const [q, k, v] = heads3(s, z)
  const [hidden, blocks] = [mask(n, z, s.args[3]!), blocksOf(z)]
  const raw = blocks.map((b) => scores(n, z, q, k, hidden, b))
  const outs = blocks.map((b, i) => n.matmul(probabilities(n, z, raw[i]!, b), seen(n, z, v, b)))
  const lse = raw.map((x) => n.one('ReduceLogSumExp', [x, n.i64(3)], { keepdims: int(0) }))
  return [
    join(n, z, whole(n, z, blocks, outs, z.dim), z.heads),
    n.reshape(n.transpose(n.concat(2, ...lse), 0, 2, 1), z.rows * z.length, z.heads),
  ]
}

/** Gradients by keys of all blocks together; a block says nothing of keys after its end. */
const summed = (
  n: Nodes,
  z: Sizes,
  blocks: ReadonlyArray<Block>,
  xs: ReadonlyArray<Value>,
): Value => {
  const padded = xs.map((x, i) => {
    const gap = z.length - blocks[i]!.to
    return gap === 0 ? x : n.one('Pad', [x, n.i64(0, 0, 0, 0, 0, 0, gap, 0)])
  })
  return padded.length === 1 ? padded[0]! : n.one('Sum', padded)
}

/** Scores are computed again from q and k; out∘ct gives the row term of the softmax gradient (Dao 2023). */
export const attentionGrad = (s: Site<Heads>): ReadonlyArray<Value> => {
  const { n } = s
  const z = sizesOf(s)
  const [q, k, v] = heads3(s, z)
  const [out, ct] = [s.args[4]!, s.args[6]!]
  const [hidden, blocks] = [mask(n, z, s.args[3]!), blocksOf(z)]
  const ctHeads = split(n, z, ct, z.heads)
  const rowTerm = n.sumAxis(n.reshape(n.mul(ct, out), z.rows, z.length, z.heads, z.dim), 3)
  // One product gives ct·vᵀ − rowTerm: a further column of ct against a column of −1.
  const left = n.concat(3, ctHeads, n.transpose(rowTerm, 0, 2, 1, 3))
  const right = n.concat(3, v, n.filled([z.rows, z.kv, z.length, 1], -1))
  const scale = 1 / Math.sqrt(z.dim)
  const parts = blocks.map((b) => {
    const p = probabilities(n, z, scores(n, z, q, k, hidden, b), b)
    const dp = n.matmul(queries(n, z, left, z.dim + 1, b), seen(n, z, right, b), { tb: true })
    const ds = n.mul(p, dp)
    return {
      dq: n.matmul(ds, seen(n, z, k, b), { alpha: scale }),
      dk: n.matmul(ds, queries(n, z, q, z.dim, b), { ta: true, alpha: scale }),
      dv: n.matmul(p, queries(n, z, ctHeads, z.dim, b), { ta: true }),
    }
  })
  const dq = whole(
    n,
    z,
    blocks,
    parts.map((x) => x.dq),
    z.dim,
  )
  return [
    join(n, z, dq, z.heads),
    join(
      n,
      z,
      summed(
        n,
        z,
        blocks,
        parts.map((x) => x.dk),
      ),
      z.kv,
    ),
    join(
      n,
      z,
      summed(
        n,
        z,
        blocks,
        parts.map((x) => x.dv),
      ),
      z.kv,
    ),
  ]
}
