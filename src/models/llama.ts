/** Llama, Mistral and Qwen2 as tensor functions: one description, four functions of a program. */
import type { Either } from 'fp-ts/lib/Either.js'
import { building, builder, type Builder } from '../../ir/build.ts'
import type { Fn, Id, Program, State } from '../../ir/graph.ts'
import type { Reason } from '../../ir/reason.ts'
import { scalar, tensor, type TensorType } from '../../ir/type.ts'
import type { ModelSpec } from './spec.ts'

/** Shapes a program is compiled for. */
export interface Shapes {
  /** Rows and tokens per row of a micro-batch. */
  readonly rows: number
  readonly length: number
  /** Sequences decoded side by side, the longest prompt, and prompt plus answer; null without generation. */
  readonly generate: {
    readonly batch: number
    readonly prompt: number
    readonly capacity: number
    /** Rows for each prompt, whose caches change places; absent: one. */
    readonly beams?: number
    /** Shorter prompts that have a `prefill` of their own, so that they need not pay for the longest. */
    readonly shorter?: ReadonlyArray<number>
  } | null
  /** Also the mean of a row's last hidden states. */
  readonly embed?: true
}

/** Attention of one layer: packed rows in training, a cache in generation. */
type Attend = (layer: number, q: Id, k: Id, v: Id) => Id

export interface Context {
  readonly b: Builder
  readonly spec: ModelSpec
  readonly weight: (name: string, ...shape: ReadonlyArray<number>) => Id
}

const linear = (c: Context, name: string, x: Id, out: number, bias: boolean): Id => {
  const into = c.b.typeOf(x).shape[1]!
  const y = c.b.alg.dot({ tb: true }, x, c.weight(`${name}.weight`, out, into))
  return bias ? c.b.alg.addRow(y, c.weight(`${name}.bias`, out)) : y
}

const norm = (c: Context, name: string, x: Id): Id =>
  c.b.alg.rmsNorm(c.spec.eps, x, c.weight(`${name}.weight`, c.spec.hidden))

const block = (c: Context, i: number, x: Id, table: readonly [Id, Id], attend: Attend): Id => {
  const { b, spec } = c
  const at = `model.layers.${i}`
  const mid = b.at({ scope: `layers.${i}.attention` }, () => {
    const h = norm(c, `${at}.input_layernorm`, x)
    const [wide, narrow] = [spec.heads * spec.headDim, spec.kvHeads * spec.headDim]
    const q = linear(c, `${at}.self_attn.q_proj`, h, wide, spec.qkvBias)
    const k = linear(c, `${at}.self_attn.k_proj`, h, narrow, spec.qkvBias)
    const v = linear(c, `${at}.self_attn.v_proj`, h, narrow, spec.qkvBias)
    const o = attend(i, b.alg.rope(false, q, ...table), b.alg.rope(false, k, ...table), v)
    return b.alg.add(x, linear(c, `${at}.self_attn.o_proj`, o, spec.hidden, spec.oBias))
  })
  return b.at({ scope: `layers.${i}.mlp` }, () => {
    const h = norm(c, `${at}.post_attention_layernorm`, mid)
    const gate = linear(c, `${at}.mlp.gate_proj`, h, spec.intermediate, spec.mlpBias)
    const up = linear(c, `${at}.mlp.up_proj`, h, spec.intermediate, spec.mlpBias)
    const down = linear(c, `${at}.mlp.down_proj`, b.alg.swiglu(gate, up), spec.hidden, spec.mlpBias)
    return b.alg.add(mid, down)
  })
}

const table = (c: Context): Id => c.weight('model.embed_tokens.weight', c.spec.vocab, c.spec.hidden)
const head = (c: Context): Id =>
  c.spec.tied ? table(c) : c.weight('lm_head.weight', c.spec.vocab, c.spec.hidden)

/** Final hidden states [R·T, hidden] of tokens [R, T]. */
const body = (c: Context, tokens: Id, positions: Id, attend: Attend): Id => {
  const { b, spec } = c
  const [first, rope] = b.at({ scope: 'embed' }, () => [
    b.alg.embed(table(c), tokens),
    b.alg.ropeTable(spec.rope, positions),
  ])
  const last = Array.from({ length: spec.layers }).reduce<Id>(
    (x, _, i) => block(c, i, x, rope, attend),
    first,
  )
  return b.at({ scope: 'head' }, () => norm(c, 'model.norm', last))
}

const heads = (spec: ModelSpec) => ({ heads: spec.heads, kvHeads: spec.kvHeads })

interface Batch {
  readonly tokens: Id
  readonly positions: Id
  readonly segments: Id
  readonly targets: Id
}

const inSegments =
  (c: Context, segments: Id): Attend =>
  (_, q, k, v) =>
    c.b.alg.attention(heads(c.spec), q, k, v, segments)[0]

const packed = (c: Context, s: Shapes): Batch & { readonly hidden: Id } => {
  const grid = tensor('i32', s.rows, s.length)
  const input = (name: string): Id => c.b.input(name, grid)
  const [tokens, positions, segments, targets] = ['tokens', 'positions', 'segments', 'targets'].map(
    input,
  ) as [Id, Id, Id, Id]
  return {
    tokens,
    positions,
    segments,
    targets,
    hidden: body(c, tokens, positions, inSegments(c, segments)),
  }
}

/** Final hidden states of packed rows, where nothing is to be predicted token by token. */
export const encoded = (c: Context, s: Shapes): Id => {
  const grid = tensor('i32', s.rows, s.length)
  const [tokens, positions, segments] = ['tokens', 'positions', 'segments'].map((name) =>
    c.b.input(name, grid),
  ) as [Id, Id, Id]
  return body(c, tokens, positions, inSegments(c, segments))
}

/** Loss of a packed batch: negative log-likelihoods × `inverse_count` (1 / scored tokens of the whole effective batch). */
const stepFn = (c: Context, s: Shapes): Fn => {
  const { b } = c
  const { hidden, targets } = packed(c, s)
  const inverse = b.input('inverse_count', scalar('f32'))
  const loss = b.at({ scope: 'loss' }, () => {
    const [nll] = b.alg.linearCrossEntropy(hidden, head(c), targets)
    return b.alg.mul(b.alg.sum(nll), inverse)
  })
  return b.done({
    name: 'step',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
}

/** Per token: negative log-likelihood of its target and the most likely id. */
const evaluateFn = (c: Context, s: Shapes): Fn => {
  const { b } = c
  const { hidden, targets } = packed(c, s)
  const outs = b.at({ scope: 'loss' }, () => {
    const [nll] = b.alg.linearCrossEntropy(hidden, head(c), targets)
    return [
      { name: 'nll', id: nll },
      { name: 'argmax', id: b.alg.linearArgmax(hidden, head(c)) },
    ]
  })
  return b.done({ name: 'evaluate', outs, updates: [] })
}

/** Sums of the last hidden states by `weights` [R, R·T]: with one over the length of its text at each token's place, a mean a row. */
const embedFn = (c: Context, s: Shapes): Fn => {
  const { b } = c
  const { hidden } = packed(c, s)
  const weights = b.input('weights', tensor('f32', s.rows, s.rows * s.length))
  const pooled = b.at({ scope: 'embedding' }, () =>
    b.alg.dot({}, weights, b.alg.cast('f32', hidden)),
  )
  return b.done({ name: 'embed', outs: [{ name: 'pooled', id: pooled }], updates: [] })
}

export const cacheNames = (layer: number): readonly [string, string] => [
  `cache.k.${layer}`,
  `cache.v.${layer}`,
]

type Generation = NonNullable<Shapes['generate']>

const caches = (spec: ModelSpec, g: Generation): ReadonlyArray<State> => {
  const type: TensorType = tensor('f32', g.batch, g.capacity, spec.kvHeads * spec.headDim)
  return Array.from({ length: spec.layers }, (_, i) => cacheNames(i))
    .flat()
    .map((name) => ({ name, type, role: 'cache', recipe: { _tag: 'fill', value: 0 } }))
}

/** The function that takes prompts of at most so many tokens. */
export const prefillName = (g: Generation, prompt: number): string =>
  prompt === g.prompt ? 'prefill' : `prefill${prompt}`

/** The function that moves rows of the caches to where their beams go on. */
export const REORDER = 'reorder'

const hasBeams = ({ beams = 1 }: Generation): boolean => beams > 1

/** The functions of generation. */
export const generationNames = (g: Generation): ReadonlyArray<string> => [
  ...[...(g.shorter ?? []), g.prompt].map((n) => prefillName(g, n)),
  'decode',
  ...(hasBeams(g) ? [REORDER] : []),
]

/** After one more stretch of tokens: logits [B, vocab], and of each row the likeliest id; keys and values go into the cache. */
const generateFn = (
  c: Context,
  /** Tokens of the stretch; null: one token, after others. */
  prompt: number | null,
  g: Generation,
  cache: ReadonlyMap<string, State>,
): Fn => {
  const { b } = c
  const grid = tensor('i32', g.batch, prompt ?? 1)
  const [tokens, positions] = [b.input('tokens', grid), b.input('positions', grid)]
  const segments = prompt === null ? null : b.input('segments', grid)
  const updates: Array<Fn['updates'][number]> = []
  const attend: Attend = (layer, q, k, v) => {
    const [ck, cv] = [k, v].map((x, i) => {
      const state = cache.get(cacheNames(layer)[i]!)!
      const id = b.alg.cacheWrite(b.read(state), x, positions)
      updates.push({ state: state.name, id })
      return id
    }) as [Id, Id]
    return segments === null
      ? b.alg.cachedAttention(heads(c.spec), q, ck, cv, positions)
      : b.alg.attention(heads(c.spec), q, k, v, segments)[0]
  }
  const hidden = body(c, tokens, positions, attend)
  const outs = b.at({ scope: 'head' }, () => {
    const last =
      prompt === null ? hidden : b.alg.takeRows(hidden, b.input('last', tensor('i32', g.batch)))
    const vocabulary = head(c)
    return [
      { name: 'logits', id: b.alg.cast('f32', b.alg.dot({ tb: true }, last, vocabulary)) },
      { name: 'next', id: b.alg.linearArgmax(last, vocabulary) },
    ]
  })
  const name = prompt === null ? 'decode' : prefillName(g, prompt)
  return b.done({ name, outs, updates })
}

const reorderFn = (b: Builder, g: Generation, cache: ReadonlyMap<string, State>): Fn => {
  const rows = b.input('rows', tensor('i32', g.batch))
  const updates = b.at({ scope: 'cache' }, () =>
    [...cache.values()].map((state) => ({
      state: state.name,
      id: b.alg.takeRows(b.read(state), rows),
    })),
  )
  return b.done({ name: REORDER, outs: [], updates })
}

/** Functions over the same weights, all that any of them has asked for. */
export const contexts = (
  spec: ModelSpec,
): { readonly context: () => Context; readonly weights: ReadonlyMap<string, State> } => {
  const weights = new Map<string, State>()
  const context = (): Context => {
    const b = builder()
    return {
      b,
      spec,
      weight: (key, ...shape) => {
        const known = weights.get(key)
        const state: State = known ?? {
          name: key,
          type: tensor('f32', ...shape),
          role: 'train',
          recipe: { _tag: 'load', key },
        }
        weights.set(key, state)
        return b.read(state)
      },
    }
  }
  return { context, weights }
}

/** The forward program: `step` (what training minimizes), `evaluate`, and with generation `prefill` and `decode`. */
export const model = (name: string, spec: ModelSpec, s: Shapes): Either<Reason, Program> =>
  building(() => {
    const { context, weights } = contexts(spec)
    const kept = s.generate === null ? [] : caches(spec, s.generate)
    const byName = new Map(kept.map((k) => [k.name, k]))
    const fns = [stepFn(context(), s), evaluateFn(context(), s)]
    if (s.generate !== null) {
      for (const prompt of [...(s.generate.shorter ?? []), s.generate.prompt, null])
        fns.push(generateFn(context(), prompt, s.generate, byName))
      if (hasBeams(s.generate)) fns.push(reorderFn(builder(), s.generate, byName))
    }
    if (s.embed === true) fns.push(embedFn(context(), s))
    return { name, state: [...weights.values(), ...kept], fns }
  })
