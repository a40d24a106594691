/** Every key of a Ludwig LLM config that tunec does not support yet, section by section. */
import { adapterKeys, modelParameterKeys, quantizationKeys } from './adapter-keys.ts'
import { inputFeature, outputFeature } from './feature-keys.ts'
import { no, type Known, type Refusal } from './known.ts'
import { trainerKeys } from './trainer-keys.ts'

const greedyOrSampled =
  'leave it out: tokens are sampled by temperature, top_k and top_p, greedy with `do_sample: false`, or by beams with `num_beams`'

const generationDefaults = {
  max_length: 32,
  min_length: 0,
  max_time: null,
  num_beam_groups: 1,
  penalty_alpha: null,
  use_cache: true,
  prompt_lookup_num_tokens: null,
  typical_p: 1,
  epsilon_cutoff: 0,
  eta_cutoff: 0,
  diversity_penalty: 0,
  encoder_repetition_penalty: 1,
  bad_words_ids: null,
  force_words_ids: null,
  renormalize_logits: false,
  forced_bos_token_id: null,
  forced_eos_token_id: null,
  remove_invalid_values: false,
  exponential_decay_length_penalty: null,
  suppress_tokens: null,
  begin_suppress_tokens: null,
  forced_decoder_ids: null,
  sequence_bias: null,
  guidance_scale: null,
  pad_token_id: null,
  bos_token_id: null,
  eos_token_id: null,
}

/** Null says the same as the default here. */
const generation: Known = Object.fromEntries(
  Object.entries(generationDefaults).map(([key, value]): readonly [string, Refusal] => [
    key,
    no(greedyOrSampled, value, null),
  ]),
)

const preprocessing: Known = {
  cache_encoder_embeddings: no(
    'leave it out: it belongs to the input feature of `model_type: ecd`',
    false,
  ),
  force_split: no('leave it out: the split is random unless `split.type` is fixed', false),
  stratify: no('leave it out, and set `split: {type: stratify, column: label}`', null),
}

export const ludwigKeys: Known = {
  adapters: no('write one of them as `adapter`', null),
  trust_remote_code: no('leave it out: no code of a model repository is ever run', false),
  is_multimodal: no('leave it out: only text is supported', false),
  defaults: no(
    'leave it out, and write the setting under the feature itself',
    null,
    {},
    { text: {} },
  ),
  hyperopt: no('leave it out, and run one config for each setting', null),
  combiner: no('leave it out: there is one input, and nothing to combine', null, {
    type: 'concat',
  }),
  training: no('write it as `trainer`'),
  input_features: { section: inputFeature },
  output_features: { section: outputFeature },
  prompt: {
    section: {
      retrieval: {
        section: {
          index_name: no('leave it out: embeddings are found again by their content', null),
        },
      },
    },
  },
  preprocessing: { section: preprocessing },
  adapter: { section: adapterKeys },
  quantization: { section: quantizationKeys },
  model_parameters: { section: modelParameterKeys },
  trainer: { section: trainerKeys },
  generation: { section: generation },
}
