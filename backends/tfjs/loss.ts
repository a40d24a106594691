/** Vocabulary projection and loss over scored rows only, a chunk of rows at a time. */
import { DT } from './tf.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf, Site } from './site.ts'

/** Logits of one chunk: 32 MB of f32. */
const CHUNK = 2 ** 23

interface Chunk {
  readonly rows: number
  /** Row numbers of the scored rows, [S, 1], and as a list. */
  readonly index: Value
  readonly at: Value
  /** Their hidden states and targets. */
  readonly hs: Value
  readonly ts: Value
  readonly part: (v: Value) => Value
}

const ranges = (s: Site<object>): ReadonlyArray<readonly [number, number]> => {
  const [rows, vocab] = [s.types[0]!.shape[0]!, s.types[1]!.shape[0]!]
  const count = Math.max(1, Math.ceil((rows * vocab) / CHUNK))
  const per = Math.max(1, Math.ceil(rows / count))
  return Array.from({ length: Math.max(1, Math.ceil(rows / per)) }, (_, i) => [
    i * per,
    Math.min(rows, (i + 1) * per),
  ])
}

/** Each chunk's results side by side along rows. */
const perChunk = (
  s: Site<object>,
  body: (c: Chunk) => ReadonlyArray<Value>,
): ReadonlyArray<ReadonlyArray<Value>> => {
  const { n } = s
  const rows = s.types[0]!.shape[0]!
  return ranges(s).map(([from, to]) =>
    n.scoped(() => {
      const part = (v: Value) => n.slice(v, 0, from, to)
      const targets = part(n.reshape(s.args[2]!, rows))
      const index = n.one('Where', [n.one('GreaterEqual', [targets, n.words([], [0])])])
      const at = n.reshape(index, -1)
      const [hs, ts] = [n.gather(part(s.args[0]!), at), n.gather(targets, at)]
      return body({ rows: to - from, index, at, hs, ts, part })
    }),
  )
}

const scatter = (n: Nodes, c: Chunk, v: Value, ...rest: ReadonlyArray<number>): Value =>
  n.one('ScatterNd', [c.index, v, n.cast(n.ints(c.rows, ...rest), DT.i64)])

export const linearCrossEntropy: KernelOf<'linearCrossEntropy'> = (s) => {
  const { n } = s
  const parts = perChunk(s, (c) => {
    const logits = n.dot(c.hs, s.args[1]!, { tb: true })
    const top = n.max(logits, [1], true)
    const lse = n.reshape(n.add(top, n.log(n.sum(n.exp(n.sub(logits, top)), [1], true))), -1)
    const own = n.one(
      'GatherV2',
      [logits, n.reshape(c.ts, -1, 1), n.words([], [1])],
      [n.attr.int('batch_dims', 1)],
    )
    return [scatter(n, c, n.sub(lse, n.reshape(own, -1))), scatter(n, c, lse)]
  })
  return [n.concat(0, ...parts.map((p) => p[0]!)), n.concat(0, ...parts.map((p) => p[1]!))]
}

/** (softmax − onehot)·ct of the scored rows. */
const dLogits = (s: Site<object>, c: Chunk): Value => {
  const { n } = s
  const column = (v: Value) => n.reshape(n.gather(c.part(v), c.at), -1, 1)
  const [lse, ct] = [column(s.args[3]!), column(s.args[4]!)]
  const p = n.exp(n.sub(n.dot(c.hs, s.args[1]!, { tb: true }), lse))
  const vocab = n.words([], [s.types[1]!.shape[0]!])
  const hot = n.one('OneHot', [c.ts, vocab, n.scalar(1), n.scalar(0)])
  return n.mul(n.sub(p, hot), ct)
}

export const linearCrossEntropyGrad: KernelOf<'linearCrossEntropyGrad'> = (s) => {
  const { n } = s
  const parts = perChunk(s, (c) => [
    scatter(n, c, n.dot(dLogits(s, c), s.args[1]!), s.types[0]!.shape[1]!),
  ])
  return [n.concat(0, ...parts.map((p) => p[0]!))]
}

export const linearCrossEntropyWeightGrad: KernelOf<'linearCrossEntropyWeightGrad'> = (s) => {
  const { n } = s
  const parts = perChunk(s, (c) => [n.dot(dLogits(s, c), c.hs, { ta: true })])
  return [parts.map((p) => p[0]!).reduce((a, b) => n.add(a, b))]
}

export const linearArgmax: KernelOf<'linearArgmax'> = (s) => {
  const { n } = s
  const parts = ranges(s).map(([from, to]) =>
    n.scoped(() => {
      const logits = n.dot(n.slice(s.args[0]!, 0, from, to), s.args[1]!, { tb: true })
      const best = n.one('ArgMax', [logits, n.words([], [1])], [n.attr.type('output_type', DT.i32)])
      const right = n.one('LogicalAnd', [
        n.all(n.one('LogicalNot', [n.one('IsNan', [logits])]), [1]),
        n.one('IsFinite', [n.max(logits, [1])]),
      ])
      return [n.where(right, best, n.words([], [-1]))]
    }),
  )
  return [n.concat(0, ...parts.map((p) => p[0]!))]
}
