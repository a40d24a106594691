/** Architectures of well-known hub models, so that a plan can be made without their files. */

/** Hidden size, layers, heads, key-value heads, width of the MLP. */
type Size = readonly [number, number, number, number, number]

const sized = ([hidden, layers, heads, kv, ffn]: Size) => ({
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kv,
  intermediate_size: ffn,
})

const llama = (size: Size, vocab: number, context: number, more: object = {}) => ({
  model_type: 'llama',
  ...sized(size),
  vocab_size: vocab,
  max_position_embeddings: context,
  rms_norm_eps: 1e-5,
  ...more,
})

const seven: Size = [4096, 32, 32, 32, 11008]
const thirteen: Size = [5120, 40, 40, 40, 13824]
const eight: Size = [4096, 32, 32, 8, 14336]
const seventy: Size = [8192, 80, 64, 8, 28672]

const llama2 = (size: Size) => llama(size, 32000, 4096)
const code = (size: Size, vocab: number) => llama(size, vocab, 16384, { rope_theta: 1e6 })
const llama3 = (size: Size) => llama(size, 128256, 8192, { rope_theta: 5e5 })
const llama31 = (size: Size, factor = 8, more: object = {}) =>
  llama(size, 128256, 131072, {
    rope_theta: 5e5,
    rope_scaling: {
      rope_type: 'llama3',
      factor,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    },
    ...more,
  })
const small = (size: Size, head_dim: number) =>
  llama31(size, 32, { head_dim, tie_word_embeddings: true })
const llama32_1b = small([2048, 16, 32, 8, 8192], 64)
const llama32_3b = small([3072, 28, 24, 8, 8192], 128)

const mistral = (
  size: Size,
  vocab: number,
  theta: number,
  { context = 32768, window = null, ...more }: MistralMore = {},
) => ({
  model_type: 'mistral',
  ...sized(size),
  vocab_size: vocab,
  max_position_embeddings: context,
  rms_norm_eps: 1e-5,
  rope_theta: theta,
  sliding_window: window,
  ...more,
})
interface MistralMore {
  readonly context?: number
  readonly window?: number | null
  readonly head_dim?: number
}
const mistral1 = mistral(eight, 32000, 1e4, { window: 4096 })
const mistral3 = mistral(eight, 32768, 1e6)
const mistral24b = mistral([5120, 40, 32, 8, 32768], 131072, 1e8, { head_dim: 128 })

const qwen = (size: Size, context: number, eps = 1e-6) => ({
  model_type: 'qwen2',
  ...sized(size),
  // The models of 4 billion parameters and less share embedding and head; larger ones have a padded vocabulary.
  vocab_size: size[0] < 3584 ? 151936 : 152064,
  tie_word_embeddings: size[0] < 3584,
  max_position_embeddings: context,
  rms_norm_eps: eps,
  rope_theta: 1e6,
})
const qwenSizes: Readonly<Record<string, Size>> = {
  '0.5B': [896, 24, 14, 2, 4864],
  '1.5B': [1536, 28, 12, 2, 8960],
  '3B': [2048, 36, 16, 2, 11008],
  '7B': [3584, 28, 28, 4, 18944],
  '14B': [5120, 48, 40, 8, 13824],
  '32B': [5120, 64, 40, 8, 27648],
  '72B': [8192, 80, 64, 8, 29568],
}
const [LONG, SHORT] = [131072, 32768]

/** A generation of Qwen: the bases of most sizes were trained on the longer context, their chat models say the shorter. */
const qwens = (
  generation: string,
  sizes: ReadonlyArray<string>,
  short: ReadonlyArray<string>,
): Readonly<Record<string, object>> =>
  Object.fromEntries(
    sizes.flatMap((size) => {
      const shape = qwenSizes[size]!
      const base = qwen(shape, short.includes(size) ? SHORT : LONG, shape[0] < 5120 ? 1e-6 : 1e-5)
      return [
        [`Qwen/${generation}-${size}`, base],
        [`Qwen/${generation}-${size}-Instruct`, qwen(shape, SHORT)],
      ]
    }),
  )

/** Under several names. */
const as = (config: object, ...names: ReadonlyArray<string>): Readonly<Record<string, object>> =>
  Object.fromEntries(names.map((name) => [name, config]))

const meta = (name: string): ReadonlyArray<string> => [
  `meta-llama/${name}`,
  `meta-llama/${name}-Instruct`,
]

/** Hub id to what its config.json says of the architecture. */
export const knownModels: Readonly<Record<string, object>> = {
  ...as(llama2(seven), 'meta-llama/Llama-2-7b-hf', 'meta-llama/Llama-2-7b-chat-hf'),
  ...as(llama2(thirteen), 'meta-llama/Llama-2-13b-hf', 'meta-llama/Llama-2-13b-chat-hf'),
  ...as(llama2(seventy), 'meta-llama/Llama-2-70b-hf', 'meta-llama/Llama-2-70b-chat-hf'),
  ...as(code(seven, 32016), 'codellama/CodeLlama-7b-hf', 'codellama/CodeLlama-7b-Instruct-hf'),
  ...as(code(seven, 32000), 'codellama/CodeLlama-7b-Python-hf'),
  ...as(code(thirteen, 32016), 'codellama/CodeLlama-13b-hf', 'codellama/CodeLlama-13b-Instruct-hf'),
  ...as(code(thirteen, 32000), 'codellama/CodeLlama-13b-Python-hf'),
  ...as(
    code([8192, 48, 64, 8, 22016], 32000),
    'codellama/CodeLlama-34b-hf',
    'codellama/CodeLlama-34b-Instruct-hf',
    'codellama/CodeLlama-34b-Python-hf',
  ),
  ...as(llama3(eight), ...meta('Meta-Llama-3-8B')),
  ...as(llama3(seventy), ...meta('Meta-Llama-3-70B')),
  // The hub has them with and without "Meta-".
  ...as(llama31(eight), ...meta('Llama-3.1-8B'), ...meta('Meta-Llama-3.1-8B')),
  ...as(llama31(seventy), ...meta('Llama-3.1-70B'), ...meta('Meta-Llama-3.1-70B')),
  ...as(llama31([16384, 126, 128, 8, 53248]), ...meta('Llama-3.1-405B')),
  ...as(llama32_1b, ...meta('Llama-3.2-1B')),
  ...as(llama32_3b, ...meta('Llama-3.2-3B')),
  ...as(llama31(seventy), 'meta-llama/Llama-3.3-70B-Instruct'),
  ...as(mistral1, 'mistralai/Mistral-7B-v0.1', 'mistralai/Mistral-7B-Instruct-v0.1'),
  ...as(mistral(eight, 32000, 1e6), 'mistralai/Mistral-7B-Instruct-v0.2'),
  ...as(mistral3, 'mistralai/Mistral-7B-v0.3', 'mistralai/Mistral-7B-Instruct-v0.3'),
  ...as(
    mistral([5120, 40, 32, 8, 14336], 131072, 1e6, { context: 128000, head_dim: 128 }),
    'mistralai/Mistral-Nemo-Base-2407',
  ),
  ...as(
    mistral24b,
    'mistralai/Mistral-Small-24B-Base-2501',
    'mistralai/Mistral-Small-24B-Instruct-2501',
  ),
  ...as(llama([2048, 22, 32, 4, 5632], 32000, 2048), 'TinyLlama/TinyLlama-1.1B-Chat-v1.0'),
  ...qwens('Qwen2', ['0.5B', '1.5B', '7B', '72B'], []),
  ...qwens('Qwen2.5', Object.keys(qwenSizes), ['0.5B', '3B']),
}
