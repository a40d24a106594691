/** A language model as encoder: its last hidden states pooled to one vector a sample, and a head over it for each output. */
import type { Either } from 'fp-ts/lib/Either.js'
import { building, type Builder } from '../../ir/build.ts'
import type { Fn, Id, Program, State } from '../../ir/graph.ts'
import type { Reason } from '../../ir/reason.ts'
import { tensor } from '../../ir/type.ts'
import { HEADS } from '../../passes/heads.ts'
import { contexts, encoded, type Context, type Shapes } from './llama.ts'
import type { ModelSpec } from './spec.ts'

export interface Head {
  /** The output feature. */
  readonly name: string
  /** The same as part of a name in the program. */
  readonly key: string
  readonly kind: 'category' | 'binary' | 'number'
  /** Columns of its logits; `binary` and `number` have one. */
  readonly logits: number
  readonly bias: boolean
}

export interface Labels {
  readonly heads: ReadonlyArray<Head>
  /** How a sample's hidden states become one vector. */
  readonly pool: 'last' | 'mean' | 'sum'
  /** Tokens of the shortest sample: how many may share a row. */
  readonly shortest: number
  /** The heads alone, over vectors that were computed before. */
  readonly cached: boolean
}

/** However short samples are, more of them do not share a row: the pooling matrix grows with them. */
const MOST = 64

/** Samples that a packed row may hold. */
export const perRow = (l: Labels, { length }: Pick<Shapes, 'length'>): number =>
  Math.max(1, Math.min(MOST, Math.floor(length / Math.max(1, l.shortest))))

/** Samples of a micro-batch. */
export const samplesOf = (l: Labels, s: Pick<Shapes, 'rows' | 'length'>): number =>
  l.cached ? s.rows : s.rows * perRow(l, s)

/** Columns of a head's targets: weights of classes, or the number. */
export const targetWidth = ({ kind, logits }: Head): number => (kind === 'binary' ? 2 : logits)

const headState = (h: Head, part: 'weight' | 'bias', ...shape: ReadonlyArray<number>): State => ({
  name: `${HEADS}${h.key}.${part}`,
  type: tensor('f32', ...shape),
  role: 'train',
  recipe: part === 'weight' ? { _tag: 'kaiming' } : { _tag: 'fill', value: 0 },
})

export const headStates = (h: Head, hidden: number): ReadonlyArray<State> => [
  headState(h, 'weight', h.logits, hidden),
  ...(h.bias ? [headState(h, 'bias', h.logits)] : []),
]

/** One f32 vector a sample. Pooling is a product with what the host says: a one at the last token, or ones, or their shares. */
const pooled = (c: Context, l: Labels, s: Shapes): Id => {
  const { b, spec } = c
  if (l.cached) return b.input('embeddings', tensor('f32', samplesOf(l, s), spec.hidden))
  const hidden = encoded(c, s)
  const pool = b.input('pool', tensor('f32', samplesOf(l, s), s.rows * s.length))
  // In f32 whatever the model computes in: heads and their losses are small.
  return b.at({ scope: 'pool' }, () =>
    b.alg.dot({}, pool, b.emit('cast', { to: 'f32' }, hidden)[0]!),
  )
}

const logits = ({ b, spec }: Context, h: Head, x: Id): Id => {
  const [w, bias] = headStates(h, spec.hidden).map((s) => b.read(s))
  const y = b.alg.dot({ tb: true }, x, w!)
  return bias === undefined ? y : b.alg.addRow(y, bias)
}

/** Targets come weighted: the sum over samples is the mean that the loss is. */
const lossOf = (b: Builder, h: Head, y: Id): Id => {
  const type = tensor('f32', b.typeOf(y).shape[0]!, targetWidth(h))
  const targets = b.input(`targets.${h.key}`, type)
  if (h.kind !== 'number') return b.alg.sum(b.alg.classCrossEntropy(y, targets))
  const gap = b.alg.sub(y, targets)
  return b.alg.sum(b.alg.mul(b.input(`weights.${h.key}`, type), b.alg.mul(gap, gap)))
}

const withLogits = (c: Context, l: Labels, s: Shapes): ReadonlyArray<readonly [Head, Id]> => {
  const x = pooled(c, l, s)
  return l.heads.map((h) => [h, c.b.at({ scope: `heads.${h.key}` }, () => logits(c, h, x))])
}

const stepFn = (c: Context, l: Labels, s: Shapes): Fn => {
  const { b } = c
  const all = withLogits(c, l, s)
  const loss = b.at({ scope: 'loss' }, () =>
    all.map(([h, y]) => lossOf(b, h, y)).reduce((sum, x) => b.alg.add(sum, x)),
  )
  return b.done({
    name: 'step',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
}

/** Of each sample the logits of every head. */
const evaluateFn = (c: Context, l: Labels, s: Shapes): Fn =>
  c.b.done({
    name: 'evaluate',
    outs: withLogits(c, l, s).map(([h, id]) => ({ name: `logits.${h.key}`, id })),
    updates: [],
  })

/** The forward program: `step` (what training minimizes) and `evaluate`. */
export const classifier = (
  name: string,
  spec: ModelSpec,
  s: Shapes,
  l: Labels,
): Either<Reason, Program> =>
  building(() => {
    const { context, weights } = contexts(spec)
    const fns = [stepFn(context(), l, s), evaluateFn(context(), l, s)]
    const heads = l.heads.flatMap((h) => headStates(h, spec.hidden))
    return { name, state: [...weights.values(), ...heads], fns }
  })

/** The encoder alone: `evaluate` gives one vector a sample. */
export const encoder = (
  name: string,
  spec: ModelSpec,
  s: Shapes,
  l: Labels,
): Either<Reason, Program> =>
  building(() => {
    const { context, weights } = contexts(spec)
    const c = context()
    const id = pooled(c, { ...l, cached: false }, s)
    const fn = c.b.done({ name: 'evaluate', outs: [{ name: 'embeddings', id }], updates: [] })
    return { name, state: [...weights.values()], fns: [fn] }
  })
