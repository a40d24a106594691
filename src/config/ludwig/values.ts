/** Values that Ludwig knows and tunec does not yet, by the key they stand under. */

type Values = ReadonlyMap<string, string>

const all = (instead: string, names: string): ReadonlyArray<readonly [string, string]> =>
  names.split(' ').map((name) => [name, instead])

const others = 'image audio date sequence set bag vector timeseries h3'
const inputTypes: Values = new Map(
  all(
    'write `type: text`, and put such columns into the text with `prompt.template`',
    `category binary number ${others}`,
  ),
)
const outputTypes: Values = new Map(
  all('write `type: text`, or `category`, `binary` or `number` with `model_type: ecd`', others),
)
const lossTypes = (names: string) => new Map(all('leave it out', names))

/** By key, each value with what to do instead. */
export const ludwigValues: ReadonlyArray<readonly [string, Values]> = [
  [
    'model_type',
    new Map([...all('write `model_type: llm`, or `ecd` with a language model as encoder', 'gbm')]),
  ],
  ['input_features[0].type', inputTypes],
  ['output_features[0].type', outputTypes],
  [
    'input_features[0].encoder.type',
    new Map(
      all(
        'write `type: llm` with a Llama, Mistral or Qwen2 as `base_model`',
        'bert roberta distilbert xlnet electra albert deberta mt5 t5 gpt gpt2 parallel_cnn stacked_cnn ' +
          'rnn cnnrnn transformer embed tf_idf mamba jamba',
      ),
    ),
  ],
  [
    'input_features[0].encoder.reduce_output',
    new Map([
      ...all('write `mean`, which it means', 'avg'),
      ...all('write `last`, `mean` or `sum`', 'max concat attention attention_pooling none'),
    ]),
  ],
  [
    'output_features[0].loss.type',
    lossTypes(
      'mean_absolute_error mean_absolute_percentage_error root_mean_squared_error ' +
        'root_mean_squared_percentage_error huber sigmoid_cross_entropy corn entropic_open_set objectosphere focal',
    ),
  ],
  ['output_features[0].decoder.type', new Map(all('leave it out', 'mlp_classifier passthrough'))],
  [
    'output_features[0].preprocessing.normalization',
    new Map(all('write `zscore`, `minmax` or null', 'log1p iq')),
  ],
  [
    'adapter.type',
    new Map([
      ...all('write `type: lora`: fixed ranks a module are its rank_pattern', 'adalora'),
      ...all('write `type: ia3`, which trains as little', 'vera tinylora vblora'),
      ...all('write `type: lora`: norms can be trained beside it by modules_to_save', 'ln_tuning'),
      ...all(
        'write `type: lora`, which changes the same weights by low-rank products',
        'loha lokr fourierft boft c3a oft hra waveft',
      ),
      ...all('write `type: lora`: there is no adapter of prompts', 'adaption_prompt'),
    ]),
  ],
  [
    'adapter.init_lora_weights',
    new Map(all('write `pissa`, or leave it out: A starts random, B zero', 'eva corda loftq')),
  ],
  ['quantization.bnb_4bit_quant_type', new Map(all('write `nf4`', 'fp4'))],
  ['model_parameters.rope_scaling.rope_type', new Map(all('write `linear`', 'dynamic'))],
  [
    'preprocessing.split.type',
    new Map(
      all(
        'write a `split` column of 0, 1 and 2, and `split: {type: fixed}` with nothing else in it',
        'datetime hash',
      ),
    ),
  ],
  [
    'trainer.type',
    new Map(
      all(
        'write `type: dpo`, which learns from the pairs as they are: no answers are sampled while training',
        'grpo',
      ),
    ),
  ],
  ['trainer.learning_rate', new Map(all('write `0.0001`, which Ludwig takes for an LLM', 'auto'))],
  [
    'trainer.optimizer.type',
    new Map([
      ...all(
        'write `adam` or `adamw`',
        'adadelta adamax nadam rmsprop lbfgs radam schedule_free_adamw ' +
          'soap rmsprop_8bit lamb lamb_8bit lars lars_8bit',
      ),
      ...all('write `sgd`: the same step with 32-bit state', 'sgd_8bit'),
      ...all('write `lion`: the same step with state on the device', 'paged_lion'),
      ...all('write `lion_8bit`: the same step with state on the device', 'paged_lion_8bit'),
      ...all('write `adamw`: the same step with state on the device', 'paged_adam paged_adamw'),
      ...all(
        'write `adamw_8bit`: the same step with state on the device',
        'paged_adam_8bit paged_adamw_8bit',
      ),
    ]),
  ],
  [
    'trainer.learning_rate_scheduler.reduce_eval_split',
    new Map(all('write `validation`: the test split is looked at once, in the end', 'test')),
  ],
  [
    'trainer.validation_metric',
    new Map(
      all(
        'write `loss`',
        'bleu rouge word_error_rate char_error_rate precision recall specificity root_mean_squared_percentage_error',
      ),
    ),
  ],
]

const table = new Map(ludwigValues)

/** What to do instead of a value Ludwig would take for this key; undefined if it would not. */
export const ludwigValue = (path: string, value: unknown): string | undefined =>
  table.get(path.replace(/\[\d+\]/, '[0]'))?.get(String(value))
