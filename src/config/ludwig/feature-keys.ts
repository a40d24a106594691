/** What else Ludwig knows inside a feature. */
import { defaults, no, type Known } from './known.ts'

const modelTokenizer = "leave it out: the tokenizer is the base model's"

const preprocessing = (missing: string): Known => ({
  tokenizer: no(modelTokenizer, 'hf_tokenizer', null),
  pretrained_model_name_or_path: no(modelTokenizer, null),
  vocab_file: no(modelTokenizer, null),
  most_common: no('leave it out: every token and every label is known', 20000, 10000),
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
  fill_value: no('leave it out, and complete such rows in the dataset', '<UNK>', null, 0),
  computed_fill_value: no('leave it out, and complete such rows in the dataset', '<UNK>', null, 0),
  outlier_strategy: no('leave it out, and look after such rows in the dataset', null),
  outlier_threshold: no('leave it out, and look after such rows in the dataset', 3),
  computed_outlier_fill_value: no('leave it out', 0),
  prompt: no('write it as the top-level `prompt`', null),
  fallback_label: no('leave it out: it belongs to category outputs', ''),
  vocab: no('leave it out: it belongs to category outputs', []),
})

/** Of an encoder that is read, all else stands at the top level by the time this is looked at. */
const encoder: Known = {
  ...defaults({ skip: false, vocab: null, vocab_size: null, pretrained_kwargs: null }),
  use_pretrained: no('leave it out: an encoder always starts from its weights', true),
  ...defaults(
    {
      adapter: null,
      quantization: null,
      model_parameters: null,
      base_model: null,
      pretrained_model_name_or_path: null,
      max_sequence_length: null,
    },
    'leave it out, or write `model_type: ecd`',
  ),
}

/** Of a head. */
const head: Known = {
  num_fc_layers: no('leave it out: a head is one dense layer', 0),
  fc_layers: no('leave it out: a head is one dense layer', null, []),
  fc_output_size: no('leave it out: a head is one dense layer', 256),
  fc_use_bias: no('leave it out: a head is one dense layer', true),
  fc_weights_initializer: no('leave it out: a head is one dense layer', 'xavier_uniform'),
  fc_bias_initializer: no('leave it out: a head is one dense layer', 'zeros'),
  fc_norm: no('leave it out: a head is one dense layer', null),
  fc_norm_params: no('leave it out: a head is one dense layer', null),
  fc_activation: no('leave it out: a head is one dense layer', 'relu'),
  fc_dropout: no('leave it out: a head is one dense layer', 0),
  weights_initializer: no(
    'leave it out: weights start uniform in ±1/√hidden, biases at 0',
    'xavier_uniform',
  ),
  bias_initializer: no('leave it out: biases start at 0', 'zeros'),
  num_classes: no('leave it out: the data says how many there are', null),
  calibration: no('leave it out: probabilities are those of the softmax', null, false),
  mc_dropout_samples: no('leave it out: probabilities are those of the softmax', 0),
  activation: no('leave it out: a regressor is linear', null),
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
      ...head,
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
      robust_lambda: no('leave it out; `label_smoothing` is for labels that may be wrong', 0),
      confidence_penalty: no('leave it out; `label_smoothing` keeps predictions from certainty', 0),
      ...defaults({
        class_similarities: null,
        class_similarities_temperature: 0,
        unique: false,
      }),
    },
  },
  default_validation_metric: no(
    'leave it out: `trainer.validation_metric` chooses the best weights',
    'loss',
    'accuracy',
    'roc_auc',
    'mean_squared_error',
  ),
  preprocessing: { section: preprocessing('drop_row') },
  ...defaults({
    reduce_input: 'sum',
    dependencies: [],
    reduce_dependencies: 'sum',
    top_k: 3,
    calibration: false,
    threshold: 0.5,
    clip: null,
    class_similarities: null,
    input_size: null,
    num_classes: null,
  }),
}
