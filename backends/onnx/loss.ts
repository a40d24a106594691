/** Vocabulary projection and loss over scored rows only, a chunk of rows at a time. */
import type { Value } from './model.ts'
import { CAST, int, type Nodes, type Site } from './site.ts'

/** Logits of one chunk: 32 MB of f32. */
const CHUNK = 2 ** 23

interface Chunk {
  readonly rows: number
  readonly x: Value
  readonly targets: Value
  /** Row numbers of the scored rows, [S] and [S, 1]. */
  readonly at: Value
  readonly index: Value
  /** Their hidden states, targets and probabilities. */
  readonly hs: Value
  readonly ts: Value
  readonly logits: Value
  readonly p: Value
  /** The rows of W that belong to the targets, [S, H]. */
  readonly goal: Value
  /** A slice of a per-row vector. */
  readonly part: (v: Value) => Value
}

const chunksOf = (s: Site<object>): ReadonlyArray<Chunk> => {
  const { n } = s
  const [rows, vocab] = [s.types[0]!.shape[0]!, s.types[1]!.shape[0]!]
  const count = Math.max(1, Math.ceil((rows * vocab) / CHUNK))
  const per = Math.ceil(rows / count)
  const targets = n.reshape(s.args[2]!, rows)
  return Array.from({ length: Math.ceil(rows / per) }, (_, i) => {
    const [from, to] = [i * per, Math.min(rows, (i + 1) * per)]
    const part = (v: Value) => (from === 0 && to === rows ? v : n.slice(v, 0, from, to))
    const [x, t] = [part(s.args[0]!), part(targets)]
    const found = n.one('NonZero', [n.one('GreaterOrEqual', [t, n.i32(0)])])
    const at = n.one('Squeeze', [found, n.i64(0)])
    const [hs, ts] = [n.one('Gather', [x, at]), n.one('Gather', [t, at])]
    const logits = n.gemm(hs, s.args[1]!, { tb: true })
    return {
      rows: to - from,
      x,
      targets: t,
      at,
      index: n.transpose(found, 1, 0),
      hs,
      ts,
      logits,
      p: n.one('Softmax', [logits], { axis: int(-1) }),
      goal: n.one('Gather', [s.args[1]!, ts]),
      part,
    }
  })
}

const scatter = (n: Nodes, c: Chunk, shape: ReadonlyArray<number>, v: Value): Value =>
  n.one('ScatterND', [n.filled(shape, 0), c.index, v])

export const linearCrossEntropy = (s: Site<object>): ReadonlyArray<Value> => {
  const { n } = s
  const parts = chunksOf(s).map((c) => {
    const top = n.one('ReduceMax', [c.logits, n.i64(1)], { keepdims: int(0) })
    // The softmax of the largest logit is exp(max − lse).
    const best = n.one('ReduceMax', [c.p, n.i64(1)], { keepdims: int(0) })
    const lse = n.sub(top, n.one('Log', [best]))
    const own = n.one('ReduceSum', [n.mul(c.hs, c.goal), n.i64(1)], { keepdims: int(0) })
    return [scatter(n, c, [c.rows], n.sub(lse, own)), scatter(n, c, [c.rows], lse)] as const
  })
  return [n.concat(0, ...parts.map((p) => p[0])), n.concat(0, ...parts.map((p) => p[1]))]
}

/** ct of the scored rows as a column. */
const weights = (n: Nodes, c: Chunk, ct: Value): Value =>
  n.reshape(n.one('Gather', [c.part(ct), c.at]), -1, 1)

export const linearCrossEntropyGrad = (s: Site<object>): ReadonlyArray<Value> => {
  const { n } = s
  const width = s.types[0]!.shape[1]!
  const parts = chunksOf(s).map((c) => {
    const d = n.mul(n.sub(n.gemm(c.p, s.args[1]!), c.goal), weights(n, c, s.args[4]!))
    return scatter(n, c, [c.rows, width], d)
  })
  return [n.concat(0, ...parts)]
}

export const linearCrossEntropyWeightGrad = (s: Site<object>): ReadonlyArray<Value> => {
  const { n } = s
  const parts = chunksOf(s).map((c) => {
    const own = n.mul(c.hs, weights(n, c, s.args[4]!))
    const spread = n.gemm(c.p, own, { ta: true })
    const at = n.reshape(n.cast(c.ts, CAST.i64), -1, 1)
    return n.one('ScatterND', [spread, at, n.one('Neg', [own])], { reduction: { string: 'add' } })
  })
  return [parts.length === 1 ? parts[0]! : n.one('Sum', parts)]
}

export const linearArgmax = (s: Site<object>): ReadonlyArray<Value> => {
  const { n } = s
  const [rows, vocab] = [s.types[0]!.shape[0]!, s.types[1]!.shape[0]!]
  const per = Math.ceil(rows / Math.max(1, Math.ceil((rows * vocab) / CHUNK)))
  const parts = Array.from({ length: Math.ceil(rows / per) }, (_, i) => {
    const x =
      per === rows ? s.args[0]! : n.slice(s.args[0]!, 0, i * per, Math.min(rows, (i + 1) * per))
    // The same product as the logits' own, where they are returned too.
    const logits = n.gemm(x, s.args[1]!, { tb: true })
    const best = n.one('ArgMax', [logits], { axis: int(1), keepdims: int(0) })
    const over = (v: Value): Value => n.one('ReduceMax', [v, n.i64(1)], { keepdims: int(0) })
    const top = over(logits)
    // 0 where there is no NaN and the largest is finite.
    const wrong = n.add(over(n.cast(n.one('IsNaN', [logits]), CAST.f32)), n.sub(top, top))
    return n.one('Where', [n.one('Equal', [wrong, n.scalar(0)]), n.cast(best, CAST.i32), n.i32(-1)])
  })
  return [n.concat(0, ...parts)]
}
