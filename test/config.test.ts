/** Good configs: Ludwig's defaults, the files people have, the short ways of writing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'

import type { Config } from '../src/config/index.ts'
import { base, edited, parse, problemsOf, show } from './config-base.ts'

const read = (text: string, lenient = false): Config => {
  const parsed = parse(text, lenient)
  if (E.isLeft(parsed)) return assert.fail(parsed.left.map(show).join('\n'))
  return parsed.right.config
}

const least = `model_type: llm
base_model: models/tiny
input_features: [{name: instruction, type: text}]
output_features: [{name: output, type: text}]
trainer: {type: finetune}
`

const with_ = (more: string): Config => read(least + more)
const trained = (more: string): Config['trainer'] =>
  read(least.replace('finetune', `finetune, ${more}`)).trainer

const defaults: Config = {
  model_type: 'llm',
  base_model: 'models/tiny',
  input_features: [
    {
      name: 'instruction',
      type: 'text',
      column: 'instruction',
      preprocessing: { max_sequence_length: null, cache_encoder_embeddings: false },
      encoder: null,
    },
  ],
  output_features: [
    {
      name: 'output',
      type: 'text',
      column: 'output',
      preprocessing: { max_sequence_length: null },
    },
  ],
  prompt: { template: null, task: null, retrieval: { type: null, k: 0, model_name: null } },
  preprocessing: {
    sample_ratio: 1,
    sample_size: null,
    global_max_sequence_length: null,
    split: { type: 'random', probabilities: [0.7, 0.1, 0.2] },
    oversample_minority: null,
    undersample_majority: null,
  },
  adapter: null,
  quantization: null,
  model_parameters: { neftune_noise_alpha: 0, rope_scaling: null },
  trainer: {
    type: 'finetune',
    epochs: 100,
    train_steps: null,
    batch_size: 1,
    eval_batch_size: 2,
    max_batch_size: 1099511627776,
    effective_batch_size: 'auto',
    gradient_accumulation_steps: 'auto',
    layers_to_freeze_regex: null,
    optimizer: {
      type: 'adam',
      betas: [0.9, 0.999],
      eps: 1e-8,
      weight_decay: 0,
      momentum: null,
      dampening: null,
      nesterov: null,
      initial_accumulator_value: null,
      lr_decay: null,
      scale_parameter: null,
      relative_step: null,
      warmup_init: null,
    },
    learning_rate: 0.001,
    learning_rate_scheduler: {
      decay: null,
      warmup_fraction: 0,
      warmup_evaluations: 0,
      t_0: null,
      t_mult: 1,
      eta_min: 0,
      decay_rate: 0.96,
      decay_steps: 10000,
      staircase: false,
      inverse_sqrt_warmup_steps: 4000,
      polynomial_power: 1,
      polynomial_end_lr: 0,
      wsd_warmup_fraction: 0.1,
      wsd_stable_fraction: 0.8,
      wsd_decay_fraction: null,
      max_lr: null,
      pct_start: 0.3,
      div_factor: 25,
      final_div_factor: 10000,
      reduce_on_plateau: 0,
      reduce_on_plateau_patience: 10,
      reduce_on_plateau_rate: 0.1,
      reduce_eval_metric: 'loss',
      reduce_eval_split: 'training',
    },
    gradient_clipping: { clipglobalnorm: 0.5 },
    enable_gradient_checkpointing: false,
    early_stop: 5,
    steps_per_checkpoint: 0,
    checkpoints_per_epoch: 0,
    eval_steps: null,
    evaluate_training_set: false,
    skip_all_evaluation: false,
    validation_metric: 'loss',
    validation_field: 'output',
    should_shuffle: true,
    beta: null,
    loss_type: null,
    label_smoothing: null,
    rejected_column: null,
    label_column: null,
    desirable_weight: null,
    undesirable_weight: null,
  },
  generation: {
    max_new_tokens: null,
    min_new_tokens: null,
    do_sample: true,
    temperature: 0.1,
    top_k: 50,
    top_p: 1,
    num_beams: 1,
    length_penalty: 1,
    early_stopping: false,
    repetition_penalty: 1,
    no_repeat_ngram_size: 0,
    stop_strings: null,
  },
  random_seed: 42,
  backend: { type: 'local' },
  compiler: {
    dataset: null,
    memory_budget: null,
    compute_dtype: 'auto',
    backend: 'auto',
    recompute: 'auto',
    micro_batch_rows: 'auto',
    row_length: 'auto',
    target_bos: false,
    na_as_text: false,
  },
}

const lora: Config['adapter'] = {
  type: 'lora',
  r: 8,
  alpha: 16,
  rank_pattern: null,
  alpha_pattern: null,
  use_rslora: false,
  use_dora: false,
  init_lora_weights: 'default',
  dropout: 0.05,
  bias_type: 'none',
  target_modules: null,
  feedforward_modules: null,
  layers_to_transform: null,
  layers_pattern: null,
  modules_to_save: null,
  loraplus_lr_ratio: null,
  pretrained_adapter_weights: null,
  postprocessor: { merge_adapter_into_base_model: false },
}

test('what the file does not say is what Ludwig would take', () => {
  assert.deepEqual(read(least), defaults)
  assert.deepEqual(with_('adapter: {type: lora}\nquantization: {}\n'), {
    ...defaults,
    adapter: lora,
    quantization: {
      bits: 4,
      llm_int8_threshold: 6,
      bnb_4bit_quant_type: 'nf4',
      bnb_4bit_use_double_quant: true,
      bnb_4bit_compute_dtype: null,
    },
  })
  const empty = 'prompt:\npreprocessing:\ngeneration: {}\nbackend:\nmodel_parameters:\ncompiler:\n'
  assert.deepEqual(with_(empty), defaults)
})

test("Ludwig's Llama-2-7b 4-bit example is read as it stands", () => {
  const config = read(`model_type: llm
base_model: meta-llama/Llama-2-7b-hf

quantization:
  bits: 4

adapter:
  type: lora

input_features:
  - name: instruction
    type: text

output_features:
  - name: output
    type: text

trainer:
  type: finetune
  learning_rate: 0.0003
  batch_size: 2
  gradient_accumulation_steps: 8
  epochs: 3
  learning_rate_scheduler:
    warmup_fraction: 0.01

backend:
  type: local
`)
  assert.equal(config.base_model, 'meta-llama/Llama-2-7b-hf')
  assert.deepEqual(config.adapter, lora)
  assert.equal(config.quantization?.bits, 4)
  assert.deepEqual(config.trainer, {
    ...defaults.trainer,
    learning_rate: 0.0003,
    batch_size: 2,
    gradient_accumulation_steps: 8,
    epochs: 3,
    learning_rate_scheduler: { ...defaults.trainer.learning_rate_scheduler, warmup_fraction: 0.01 },
  })
})

test('the documented prompt keeps its lines and its last newline', () => {
  const config = with_(`prompt:
  template: |
    ### Instruction:
    {user_message_1}

    ### Response:
adapter: lora
quantization: {bits: 4}
preprocessing: {sample_ratio: 0.1}
`)
  assert.equal(config.prompt.template, '### Instruction:\n{user_message_1}\n\n### Response:\n')
})

test('settings that people add are read', () => {
  const config = with_(`adapter: {type: lora, r: 16, alpha: 32, target_modules: [q_proj, k_proj]}
preprocessing:
  global_max_sequence_length: 512
  split_probabilities: [0.8, 0.1, 0.1]
generation: {temperature: 0.1, max_new_tokens: 32}
model_parameters: {rope_scaling: {rope_type: linear, factor: 2}}
random_seed: 7
compiler: {memory_budget: 11.5GiB, dataset: data.csv}
`)
  assert.deepEqual(
    [config.adapter?.alpha, config.adapter?.target_modules],
    [32, ['q_proj', 'k_proj']],
  )
  assert.deepEqual(config.preprocessing.split, { type: 'random', probabilities: [0.8, 0.1, 0.1] })
  assert.equal(config.generation.max_new_tokens, 32)
  assert.equal(config.compiler.memory_budget, 11.5 * 2 ** 30)
  assert.deepEqual(config.model_parameters.rope_scaling, { rope_type: 'linear', factor: 2 })
  const fixed = with_('preprocessing: {split: {type: fixed}}')
  assert.deepEqual(fixed.preprocessing.split, { type: 'fixed', column: 'split' })
  assert.equal(
    with_('adapter: {type: lora, target_modules: all-linear}').adapter?.target_modules,
    'all-linear',
  )
})

test('one word stands for a section', () => {
  const trainer = trained('optimizer: adamw, learning_rate_scheduler: linear')
  assert.deepEqual(trainer.optimizer, { ...defaults.trainer.optimizer, type: 'adamw' })
  assert.equal(trainer.learning_rate_scheduler.decay, 'linear')
  assert.deepEqual(with_('adapter: lora').adapter, lora)
  assert.deepEqual(with_('backend: local'), defaults)
})

test('one key follows another', () => {
  assert.equal(with_('adapter: {type: lora, r: 3}').adapter?.alpha, 6)
  assert.equal(with_('compiler: {recompute: layers}').trainer.enable_gradient_checkpointing, true)
  const clipping = (value: string) => trained(`gradient_clipping: ${value}`).gradient_clipping
  assert.equal(clipping('{clipglobalnorm: 0}').clipglobalnorm, null)
  assert.equal(clipping('{clipglobalnorm: null}').clipglobalnorm, null)
  assert.equal(clipping('null').clipglobalnorm, 0.5)
  assert.equal(read(least.replace('models/tiny', 'phi-2')).base_model, 'microsoft/phi-2')
})

test('text that is plainly a number or a truth is read as one', () => {
  const trainer = trained(
    `learning_rate: 1e-4, epochs: "3", train_steps: 1_000, should_shuffle: no, optimizer: {betas: ["0.5", 0.9]}`,
  )
  assert.equal(trainer.learning_rate, 1e-4)
  assert.deepEqual([trainer.epochs, trainer.train_steps, trainer.should_shuffle], [3, 1000, false])
  assert.deepEqual(trainer.optimizer.betas, [0.5, 0.9])
})

test('keys that tunec lacks are accepted with the value that switches them off', () => {
  const config =
    with_(`adapter: {type: lora, use_dora: false, init_lora_weights: default, rank_pattern: null}
generation: {num_beams: 1, penalty_alpha: null, repetition_penalty: 1.0, use_cache: true}
trust_remote_code: false
hyperopt: null
prompt: {retrieval: {type: null, k: 0}}
`)
  assert.deepEqual(config, { ...defaults, adapter: lora })
  assert.deepEqual(
    trained(
      'use_mixed_precision: false, regularization_lambda: 0.0, learning_rate_scaling: linear, ' +
        'gradient_clipping: {clipglobalnorm: 0.5, clipnorm: null}, optimizer: {amsgrad: false}, ' +
        'learning_rate_scheduler: {reduce_on_plateau: 0, decay_rate: 0.96}',
    ),
    defaults.trainer,
  )
})

test('anchors, aliases and merge keys mean what they mean in YAML', () => {
  const shared = `.shared: &lengths {max_sequence_length: 9}
model_type: llm
base_model: models/tiny
input_features: [{name: a, type: text, preprocessing: *lengths}]
output_features: [{name: b, type: text, preprocessing: {<<: *lengths, max_sequence_length: 5}}]
trainer: &t {type: finetune}
`
  const config = read(shared, true)
  assert.equal(config.input_features[0].preprocessing.max_sequence_length, 9)
  const [output] = config.output_features
  assert.equal(output.type === 'text' && output.preprocessing.max_sequence_length, 5)
})

test('a list may close in the column of its key, as PyYAML has it', () => {
  const text = edited('betas: [0.9, 0.95]', 'betas: [\n      0.9,\n      0.95\n    ]')
  assert.deepEqual(read(text), read(base))
})

test('an issue names its file and its path', () => {
  const parsed = parse(edited('  epochs: 3', '  epochs: 0'))
  assert.deepEqual(
    parsed,
    E.left([
      {
        message: '`trainer.epochs` is 0',
        file: 'job.yaml',
        line: 33,
        column: 11,
        path: 'trainer.epochs',
        expected: 'a whole number of at least 1',
      },
    ]),
  )
  assert.deepEqual(problemsOf(base), [])
})
