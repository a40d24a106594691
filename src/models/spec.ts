/** A model's architecture, read from the config.json of a Hugging Face folder (transformers 4 and 5). */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import type { Rope } from '../../ir/algebra.ts'
import { issue, type Issue } from '../issue.ts'
import { beyondBounds } from './bounds.ts'
import { packingOf } from './packed.ts'
import { readRope, type Json } from './rope.ts'

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

/** Absent means the default of transformers; where `null` may stand is said by `nullable`. */
const number = t.union([t.number, t.null, t.undefined])
const flag = t.union([t.boolean, t.null, t.undefined])
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
  tie_word_embeddings: flag,
  attention_bias: flag,
  mlp_bias: flag,
  max_position_embeddings: number,
  sliding_window: number,
  use_sliding_window: flag,
  max_window_layers: number,
  layer_types: t.union([t.array(t.string), t.null, t.undefined]),
  hidden_act: t.union([t.string, t.null, t.undefined]),
})
type Raw = t.TypeOf<typeof codec>

/** Keys whose `null` transformers takes as silence; it refuses every other. */
const nullable: ReadonlyArray<string> = [
  'head_dim',
  'num_key_value_heads',
  'sliding_window',
  'layer_types',
]

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
    context: 2048,
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
    context: 131072,
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
    context: 32768,
    window: 4096,
  },
} as const

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
  if (!(Number.isFinite(spec.eps) && spec.eps >= 0))
    return issue(`config.json: rms_norm_eps is ${spec.eps}`, { expected: 'a number, 0 or above' })
  if (spec.headDim % 2 !== 0)
    return issue(`config.json: head_dim ${spec.headDim} is odd`, {
      expected: 'an even number, for RoPE',
    })
  return spec.family === 'llama' && spec.hidden % spec.heads !== 0
    ? issue(
        `config.json: hidden_size ${spec.hidden} is no multiple of its ${spec.heads} heads, which transformers refuses`,
        { path: 'hidden_size' },
      )
    : null
}

const FULL = 'full_attention'
const WINDOW = 'sliding_attention'

const oddLayers = (raw: Raw, layers: number): Issue | null => {
  const kinds = raw.layer_types ?? null
  if (kinds === null) return null
  if (kinds.length !== layers)
    return issue(`config.json has ${layers} layers and ${kinds.length} layer_types`, {
      path: 'layer_types',
      expected: 'one for each layer',
    })
  if (raw.model_type !== 'qwen2') return null
  const odd = kinds.find((k) => k !== FULL && k !== WINDOW)
  if (odd !== undefined)
    return issue(`config.json: a layer is of the type "${odd}"`, {
      path: 'layer_types',
      expected: `${FULL} or ${WINDOW}`,
    })
  return kinds.includes(WINDOW) && raw.use_sliding_window !== true
    ? issue(`config.json: layer_types has "${WINDOW}" and use_sliding_window is not true`, {
        path: 'use_sliding_window',
        expected: 'true, or no such layers',
      })
    : null
}

/** Whether any layer sees a window only: all of Mistral's, of Qwen2's those that its config sets apart. */
const isWindowed = (family: ModelSpec['family'], raw: Raw, layers: number): boolean => {
  if (family !== 'qwen2') return family === 'mistral'
  if (raw.use_sliding_window !== true) return false
  return raw.layer_types === undefined || raw.layer_types === null
    ? layers > (raw.max_window_layers ?? 28)
    : raw.layer_types.includes(WINDOW)
}

const unsupported = (raw: Raw, json: Json): Issue | null => {
  if (!Object.hasOwn(defaults, raw.model_type))
    return issue(`model type "${raw.model_type}" is not supported`, {
      path: 'model_type',
      expected: Object.keys(defaults).join(', '),
    })
  if (!['silu', 'swish'].includes(raw.hidden_act ?? 'silu'))
    return issue(`activation "${raw.hidden_act}" is not supported`, {
      path: 'hidden_act',
      expected: 'silu',
    })
  const empty = Object.keys(codec.props).find((k) => json[k] === null && !nullable.includes(k))
  if (empty !== undefined)
    return issue(`config.json: ${empty} is null, which transformers refuses too`, {
      path: empty,
      expected: 'a value, or no such key',
    })
  if (json['per_layer_config'] !== undefined && json['per_layer_config'] !== null)
    return issue('config.json describes layers that differ (per_layer_config)', {
      path: 'per_layer_config',
      expected: 'layers that are all alike',
    })
  const packing = packingOf(json)
  return E.isLeft(packing) ? packing.left : null
}

const specOf = (raw: Raw, json: Json): E.Either<Issue, ModelSpec> => {
  const refused = unsupported(raw, json)
  if (refused !== null) return E.left(refused)
  const family = raw.model_type as keyof typeof defaults
  const d = defaults[family]
  const heads = raw.num_attention_heads ?? d.heads
  const hidden = raw.hidden_size ?? d.hidden
  const layers = raw.num_hidden_layers ?? d.layers
  const positions = raw.max_position_embeddings ?? d.context
  // Only Llama's code looks at these; Mistral has no biases, Qwen2 always those of q, k and v.
  const bias = family === 'llama' && (raw.attention_bias ?? false)
  const window = raw.sliding_window === undefined ? d.window : raw.sliding_window
  const spec = {
    family,
    vocab: raw.vocab_size ?? d.vocab,
    hidden,
    intermediate: raw.intermediate_size ?? d.intermediate,
    layers,
    heads,
    kvHeads: (raw.num_key_value_heads === undefined ? d.kv : raw.num_key_value_heads) ?? heads,
    headDim: raw.head_dim ?? hidden / heads,
    eps: raw.rms_norm_eps ?? d.eps,
    tied: raw.tie_word_embeddings ?? false,
    qkvBias: family === 'qwen2' || bias,
    oBias: bias,
    mlpBias: family === 'llama' && (raw.mlp_bias ?? false),
    // Attention is over the whole segment; within the window that is the same as a sliding one.
    context:
      window !== null && isWindowed(family, raw, layers) ? Math.min(positions, window) : positions,
  }
  const problem = whole(spec) ?? oddLayers(raw, layers)
  return problem !== null
    ? E.left(problem)
    : pipe(
        readRope(json, spec.headDim, positions),
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
    E.chain((raw) => specOf(raw, json as Json)),
  )

/** io-ts asks for every key of a type to be present; absent ones are undefined. */
const fillMissing = (json: object): object => ({
  ...Object.fromEntries(Object.keys(codec.props).map((k) => [k, undefined])),
  ...json,
})
