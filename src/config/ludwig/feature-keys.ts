/** What else Ludwig knows inside a feature. */
import { defaults, no, type Known } from './known.ts'

const modelTokenizer = "leave it out: the tokenizer is the base model's"
const onlyEcd = 'leave it out: it belongs to `model_type: ecd`'

const preprocessing = (missing: string): Known => ({
  tokenizer: no(modelTokenizer, 'hf_tokenizer'),
  pretrained_model_name_or_path: no(modelTokenizer, null),
  vocab_file: no(modelTokenizer, null),
  most_common: no(modelTokenizer, 20000),
  padding_symbol: no(modelTokenizer, '<PAD>'),
  unknown_symbol: no(modelTokenizer, '<UNK>'),
  ngram_size: no(modelTokenizer, 2),
  compute_idf: no(modelTokenizer, false),
  padding: no('leave it out: rows are packed, not padded', 'left'),
  sequence_length: no('write it as `max_sequence_length`', null),
  lowercase: no('leave it out, and lower the case in the dataset', false),
  missing_value_strategy: no(
    'leave it out, and complete or remove such rows in the dataset',
    missing,
  ),
  fill_value: no('leave it out, and complete such rows in the dataset', '<UNK>'),
  computed_fill_value: no('leave it out, and complete such rows in the dataset', '<UNK>'),
  cache_encoder_embeddings: no(onlyEcd, false),
  prompt: no('write it as the top-level `prompt`', null),
  fallback_label: no('leave it out: it belongs to category outputs', ''),
  vocab: no('leave it out: it belongs to category outputs', []),
})

const encoder: Known = {
  type: no('leave it out: with `model_type: llm` the base model is all', 'passthrough'),
  ...defaults(
    {
      skip: false,
      adapter: null,
      quantization: null,
      model_parameters: null,
      base_model: null,
      pretrained_model_name_or_path: null,
      use_pretrained: true,
      trainable: false,
      reduce_output: null,
      max_sequence_length: null,
      pretrained_kwargs: null,
    },
    onlyEcd,
  ),
}

const common: Known = {
  active: no('leave it out: the one input and the one output are always used', true),
  proc_column: no("leave it out: it is a name for Ludwig's cache", null),
  level: no('leave it out: text is always tokens of the base model'),
}

export const inputFeature: Known = {
  ...common,
  tied: no('leave it out: there is one input', null),
  encoder: { section: encoder },
  preprocessing: { section: preprocessing('fill_with_const') },
}

export const outputFeature: Known = {
  ...common,
  decoder: {
    section: {
      ...defaults({
        type: 'text_extractor',
        tokenizer: 'hf_tokenizer',
        match_strategy: 'contains',
      }),
      input_size: no('leave it out', null),
      pretrained_model_name_or_path: no(modelTokenizer, null),
      vocab_file: no(modelTokenizer, null),
      str2idx: no('leave it out: it belongs to category outputs', null),
      max_new_tokens: no('write it as `generation.max_new_tokens`', null),
      match: no('leave it out: it belongs to category outputs', null),
      fallback_label: no('leave it out: it belongs to category outputs', null),
      constrain_to_vocabulary: no('leave it out: it belongs to category outputs', false),
    },
  },
  loss: {
    section: {
      type: no('leave it out', 'next_token_softmax_cross_entropy'),
      weight: no('leave it out, and scale `trainer.learning_rate` instead', 1),
      class_weights: no('leave it out: it has no effect on text outputs', null),
      ...defaults({
        robust_lambda: 0,
        confidence_penalty: 0,
        class_similarities: null,
        class_similarities_temperature: 0,
        unique: false,
      }),
    },
  },
  default_validation_metric: no(
    'leave it out: `trainer.validation_metric` chooses the best weights',
    'loss',
  ),
  preprocessing: { section: preprocessing('drop_row') },
  ...defaults({
    reduce_input: 'sum',
    dependencies: [],
    reduce_dependencies: 'sum',
    top_k: 3,
    class_similarities: null,
    input_size: null,
    num_classes: null,
  }),
}
