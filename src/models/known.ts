/** Architectures of well-known hub models, so that a plan can be made without their files. */

const llama2 = { model_type: 'llama', vocab_size: 32000, rms_norm_eps: 1e-5 } as const
const llama3 = {
  model_type: 'llama',
  vocab_size: 128256,
  rms_norm_eps: 1e-5,
  rope_theta: 5e5,
  num_key_value_heads: 8,
} as const
const scaled = (factor: number) => ({
  rope_type: 'llama3',
  factor,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8192,
})
const llama7b = { hidden_size: 4096, num_hidden_layers: 32, num_attention_heads: 32 } as const
const llama2_7b = { ...llama2, ...llama7b, intermediate_size: 11008, max_position_embeddings: 4096 }
const llama2_13b = {
  ...llama2,
  hidden_size: 5120,
  num_hidden_layers: 40,
  num_attention_heads: 40,
  intermediate_size: 13824,
  max_position_embeddings: 4096,
}
const llama3_8b = { ...llama3, ...llama7b, intermediate_size: 14336, max_position_embeddings: 8192 }
const llama31_8b = { ...llama3_8b, max_position_embeddings: 131072, rope_scaling: scaled(8) }
const llama32 = {
  ...llama3,
  max_position_embeddings: 131072,
  rope_scaling: scaled(32),
  tie_word_embeddings: true,
  intermediate_size: 8192,
}
const llama32_1b = {
  ...llama32,
  hidden_size: 2048,
  num_hidden_layers: 16,
  num_attention_heads: 32,
  head_dim: 64,
}
const llama32_3b = {
  ...llama32,
  hidden_size: 3072,
  num_hidden_layers: 28,
  num_attention_heads: 24,
  head_dim: 128,
}
const mistral = {
  model_type: 'mistral',
  ...llama7b,
  num_key_value_heads: 8,
  intermediate_size: 14336,
  rms_norm_eps: 1e-5,
} as const
const mistral_1 = {
  ...mistral,
  vocab_size: 32000,
  max_position_embeddings: 32768,
  sliding_window: 4096,
  rope_theta: 1e4,
}
const mistral_3 = {
  ...mistral,
  vocab_size: 32768,
  max_position_embeddings: 32768,
  sliding_window: null,
  rope_theta: 1e6,
}
const tinyllama = {
  ...llama2,
  hidden_size: 2048,
  num_hidden_layers: 22,
  num_attention_heads: 32,
  num_key_value_heads: 4,
  intermediate_size: 5632,
  max_position_embeddings: 2048,
}
const qwen = (
  hidden: number,
  layers: number,
  heads: number,
  kv: number,
  ffn: number,
  tied: boolean,
  vocab = 151936,
) => ({
  model_type: 'qwen2',
  vocab_size: vocab,
  hidden_size: hidden,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kv,
  intermediate_size: ffn,
  max_position_embeddings: 32768,
  rms_norm_eps: 1e-6,
  rope_theta: 1e6,
  tie_word_embeddings: tied,
})

/** Hub id to what its config.json says of the architecture. */
export const knownModels: Readonly<Record<string, object>> = {
  'meta-llama/Llama-2-7b-hf': llama2_7b,
  'meta-llama/Llama-2-7b-chat-hf': llama2_7b,
  'meta-llama/Llama-2-13b-hf': llama2_13b,
  'meta-llama/Llama-2-13b-chat-hf': llama2_13b,
  'meta-llama/Meta-Llama-3-8B': llama3_8b,
  'meta-llama/Meta-Llama-3-8B-Instruct': llama3_8b,
  'meta-llama/Llama-3.1-8B': llama31_8b,
  'meta-llama/Llama-3.1-8B-Instruct': llama31_8b,
  'meta-llama/Llama-3.2-1B': llama32_1b,
  'meta-llama/Llama-3.2-1B-Instruct': llama32_1b,
  'meta-llama/Llama-3.2-3B': llama32_3b,
  'meta-llama/Llama-3.2-3B-Instruct': llama32_3b,
  'mistralai/Mistral-7B-v0.1': mistral_1,
  'mistralai/Mistral-7B-Instruct-v0.1': mistral_1,
  'mistralai/Mistral-7B-v0.3': mistral_3,
  'TinyLlama/TinyLlama-1.1B-Chat-v1.0': tinyllama,
  'Qwen/Qwen2.5-0.5B': qwen(896, 24, 14, 2, 4864, true),
  'Qwen/Qwen2.5-1.5B': qwen(1536, 28, 12, 2, 8960, true),
  'Qwen/Qwen2.5-3B': qwen(2048, 36, 16, 2, 11008, true),
  'Qwen/Qwen2.5-7B': qwen(3584, 28, 28, 4, 18944, false, 152064),
}
