/** A model's architecture, read from the config.json of a Hugging Face folder (transformers 4 and 5). */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import type { Rope } from '../../ir/algebra.ts'
import { issue, type Issue } from '../issue.ts'
import { beyondBounds } from './bounds.ts'

export interface ModelSpec {
  readonly family: 'llama' | 'mistral' | 'qwen2'
  readonly vocab: number
  readonly hidden: number
  readonly intermediate: number
  readonly layers: number
  readonly heads: number
  readonly kvHeads: number
  readonly headDim: number
  readonly eps: number
  readonly rope: Rope
  /** The output head is the embedding table. */
  readonly tied: boolean
  /** Biases of q, k and v; Llama's `attention_bias` gives o one too. */
  readonly qkvBias: boolean
  readonly oBias: boolean
  readonly mlpBias: boolean
  /** Longest sequence the positions were trained for. */
  readonly context: number
}

const number = t.union([t.number, t.null, t.undefined])
const flag = t.union([t.boolean, t.null, t.undefined])
const ropeFields = {
  rope_type: t.union([t.string, t.undefined]),
  type: t.union([t.string, t.undefined]),
  rope_theta: number,
  factor: number,
  low_freq_factor: number,
  high_freq_factor: number,
  original_max_position_embeddings: number,
}
const ropeCodec = t.union([t.type(ropeFields), t.null, t.undefined])
const codec = t.type({
  model_type: t.string,
  vocab_size: number,
  hidden_size: number,
  intermediate_size: number,
  num_hidden_layers: number,
  num_attention_heads: number,
  num_key_value_heads: number,
  head_dim: number,
  rms_norm_eps: number,
  rope_theta: number,
  rope_parameters: ropeCodec,
  rope_scaling: ropeCodec,
  tie_word_embeddings: flag,
  attention_bias: flag,
  mlp_bias: flag,
  max_position_embeddings: number,
  sliding_window: number,
  use_sliding_window: flag,
  hidden_act: t.union([t.string, t.null, t.undefined]),
})
type Raw = t.TypeOf<typeof codec>

/** What transformers assumes when the file is silent. */
const defaults = {
  llama: {
    vocab: 32000,
    hidden: 4096,
    intermediate: 11008,
    layers: 32,
    heads: 32,
    kv: null,
    eps: 1e-6,
    theta: 1e4,
    context: 2048,
    bias: false,
    window: null,
  },
  mistral: {
    vocab: 32000,
    hidden: 4096,
    intermediate: 14336,
    layers: 32,
    heads: 32,
    kv: 8,
    eps: 1e-6,
    theta: 1e4,
    context: 131072,
    bias: false,
    window: 4096,
  },
  qwen2: {
    vocab: 151936,
    hidden: 4096,
    intermediate: 22016,
    layers: 32,
    heads: 32,
    kv: 32,
    eps: 1e-6,
    theta: 1e4,
    context: 32768,
    bias: true,
    window: null,
  },
} as const

const ropeOf = (raw: Raw, headDim: number, theta: number): E.Either<Issue, Rope> => {
  const r = raw.rope_parameters ?? raw.rope_scaling ?? null
  const kind = r?.rope_type ?? r?.type ?? 'default'
  const base: Rope = {
    dim: headDim,
    theta: r?.rope_theta ?? theta,
    factor: 1,
    lowFreqFactor: 0,
    highFreqFactor: 0,
    originalContext: 0,
  }
  if (kind === 'default') return E.right(base)
  const needs = (names: ReadonlyArray<keyof typeof ropeFields>): Issue | null => {
    const missing = names.find((n) => typeof r?.[n] !== 'number')
    return missing === undefined
      ? null
      : issue(`RoPE scaling "${kind}" has no ${missing}`, {
          path: 'rope_scaling',
          expected: 'a number',
        })
  }
  const gap =
    kind === 'linear'
      ? needs(['factor'])
      : kind === 'llama3'
        ? needs([
            'factor',
            'low_freq_factor',
            'high_freq_factor',
            'original_max_position_embeddings',
          ])
        : issue(`RoPE scaling "${kind}" is not supported`, {
            path: 'rope_scaling',
            expected: 'default, linear or llama3',
          })
  if (gap !== null) return E.left(gap)
  return E.right(
    kind === 'linear'
      ? { ...base, factor: r!.factor! }
      : {
          ...base,
          factor: r!.factor!,
          lowFreqFactor: r!.low_freq_factor!,
          highFreqFactor: r!.high_freq_factor!,
          originalContext: r!.original_max_position_embeddings!,
        },
  )
}

const whole = (spec: Omit<ModelSpec, 'rope'>): Issue | null => {
  const counts = [
    'vocab',
    'hidden',
    'intermediate',
    'layers',
    'heads',
    'kvHeads',
    'headDim',
    'context',
  ] as const
  const bad = counts.find((k) => !Number.isSafeInteger(spec[k]) || spec[k] <= 0)
  if (bad !== undefined)
    return issue(`config.json: ${bad} is ${spec[bad]}`, { expected: 'a positive whole number' })
  if (spec.heads % spec.kvHeads !== 0)
    return issue(
      `config.json: ${spec.heads} attention heads do not divide into ${spec.kvHeads} key-value heads`,
    )
  return spec.headDim % 2 === 0
    ? null
    : issue(`config.json: head_dim ${spec.headDim} is odd`, {
        expected: 'an even number, for RoPE',
      })
}

const specOf = (raw: Raw): E.Either<Issue, ModelSpec> => {
  const family = raw.model_type as keyof typeof defaults
  const d = defaults[family]
  if (d === undefined)
    return E.left(
      issue(`model type "${raw.model_type}" is not supported`, {
        path: 'model_type',
        expected: Object.keys(defaults).join(', '),
      }),
    )
  if ((raw.hidden_act ?? 'silu') !== 'silu')
    return E.left(
      issue(`activation "${raw.hidden_act}" is not supported`, {
        path: 'hidden_act',
        expected: 'silu',
      }),
    )
  const heads = raw.num_attention_heads ?? d.heads
  const hidden = raw.hidden_size ?? d.hidden
  const context = raw.max_position_embeddings ?? d.context
  const bias = raw.attention_bias ?? false
  const window = raw.sliding_window === undefined ? d.window : raw.sliding_window
  const windowed = family === 'mistral' || raw.use_sliding_window === true
  const spec = {
    family,
    vocab: raw.vocab_size ?? d.vocab,
    hidden,
    intermediate: raw.intermediate_size ?? d.intermediate,
    layers: raw.num_hidden_layers ?? d.layers,
    heads,
    kvHeads: raw.num_key_value_heads ?? d.kv ?? heads,
    headDim: raw.head_dim ?? hidden / heads,
    eps: raw.rms_norm_eps ?? d.eps,
    tied: raw.tie_word_embeddings ?? false,
    qkvBias: family === 'qwen2' ? true : bias,
    oBias: family === 'llama' && bias,
    mlpBias: family === 'llama' && (raw.mlp_bias ?? false),
    // Attention is over the whole segment; within the window that is the same as a sliding one.
    context: windowed && window !== null ? Math.min(context, window) : context,
  }
  const problem = whole(spec)
  return problem !== null
    ? E.left(problem)
    : pipe(
        ropeOf(raw, spec.headDim, raw.rope_theta ?? d.theta),
        E.map((rope) => ({ ...spec, rope })),
        E.chain((whole) => {
          const beyond = beyondBounds(whole)
          return beyond === null ? E.right(whole) : E.left(beyond)
        }),
      )
}

/** Reads the parsed JSON of a config.json. */
export const readSpec = (json: unknown): E.Either<Issue, ModelSpec> =>
  pipe(
    codec.decode(typeof json === 'object' && json !== null ? fillMissing(json) : json),
    E.mapLeft((errors) => {
      const at =
        errors[0]?.context
          .map((c) => c.key)
          .filter((k) => k !== '')
          .slice(0, 1)
          .join('.') ?? ''
      return issue(
        `config.json does not describe a model${at === '' ? '' : `: ${at} has the wrong type`}`,
        {
          expected: 'the config.json of a Llama, Mistral or Qwen2 model',
          ...(at === '' ? {} : { path: at }),
        },
      )
    }),
    E.chain(specOf),
  )

/** io-ts asks for every key of a type to be present; absent ones are undefined. */
const fillMissing = (json: object): object => ({
  ...Object.fromEntries(Object.keys(codec.props).map((k) => [k, undefined])),
  ...json,
  ...Object.fromEntries(
    (['rope_parameters', 'rope_scaling'] as const).flatMap((k) => {
      const v = (json as Record<string, unknown>)[k]
      return typeof v === 'object' && v !== null
        ? [[k, { ...Object.fromEntries(Object.keys(ropeFields).map((f) => [f, undefined])), ...v }]]
        : []
    }),
  ),
})
