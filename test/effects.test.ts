/** Every accepted key is changed, in every context, and changes plan, run, output or a notice, or is refused. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { supported } from '../src/config/suggest.ts'
import { inFolder } from './cli-child.ts'
import { differs, observe, writeModel } from './effects-job.ts'
import { get, put, type Doc } from './follow.ts'

const base: Doc = {
  model_type: 'llm',
  base_model: 'base',
  input_features: [{ name: 'instruction', type: 'text' }],
  output_features: [{ name: 'output', type: 'text' }],
  prompt: { template: 'Q: {instruction} A:' },
  preprocessing: { split: { type: 'random', probabilities: [0.5, 0.25, 0.25] } },
  adapter: { type: 'lora', r: 2, target_modules: ['q_proj', 'v_proj'] },
  quantization: { bits: 4 },
  model_parameters: { rope_scaling: { rope_type: 'linear', factor: 2 } },
  trainer: {
    type: 'finetune',
    epochs: 3,
    batch_size: 2,
    gradient_accumulation_steps: 2,
    learning_rate: 0.5,
    optimizer: { type: 'adamw', weight_decay: 0.1 },
    learning_rate_scheduler: { decay: 'cosine', t_0: 2, warmup_fraction: 0.1 },
  },
  generation: { max_new_tokens: 3, temperature: 1 },
  compiler: { dataset: 'data.csv' },
}

const weights = { 'about 0': 1, 'about 1': 2, 'about 2': 3, 'about 3': 4 }

/** Another value of every key. A value that is refused says so, which is an effect. */
const others: Readonly<Record<string, unknown>> = {
  model_type: 'gbm',
  base_model: 'other',
  'input_features[0].name': 'topic',
  'input_features[0].type': 'number',
  'input_features[0].column': 'topic',
  'input_features[0].preprocessing.max_sequence_length': 9,
  'input_features[0].preprocessing.cache_encoder_embeddings': true,
  'input_features[0].encoder.type': 'auto_transformer',
  'input_features[0].encoder.trainable': false,
  'input_features[0].encoder.reduce_output': 'mean',
  'output_features[0].name': 'topic',
  'output_features[0].type': 'audio',
  'output_features[0].column': 'topic',
  'output_features[0].preprocessing.max_sequence_length': 1,
  'output_features[0].preprocessing.fallback_true_label': 'whole',
  'output_features[0].preprocessing.normalization': 'zscore',
  'output_features[0].decoder.type': 'mlp_classifier',
  'output_features[0].decoder.use_bias': false,
  'output_features[0].loss.type': 'huber',
  'output_features[0].loss.weight': 2,
  'output_features[0].loss.class_weights': weights,
  'output_features[0].loss.positive_class_weight': 3,
  'output_features[0].loss.label_smoothing': 0.1,
  'output_features[0].top_k': 2,
  'output_features[0].threshold': 0.9,
  'prompt.template': '{instruction}!',
  'prompt.task': 'count',
  'preprocessing.sample_ratio': 0.5,
  'preprocessing.sample_size': 8,
  'preprocessing.global_max_sequence_length': 16,
  'preprocessing.oversample_minority': 1,
  'preprocessing.undersample_majority': 1,
  'preprocessing.split.type': 'fixed',
  'preprocessing.split.probabilities': [0.25, 0.5, 0.25],
  'preprocessing.split.column': 'part',
  'adapter.type': 'ia3',
  'adapter.r': 3,
  'adapter.alpha': 5,
  'adapter.dropout': 0.2,
  'adapter.rank_pattern': { v_proj: 1 },
  'adapter.alpha_pattern': { q_proj: 1 },
  'adapter.use_rslora': true,
  'adapter.use_dora': true,
  'adapter.init_lora_weights': 'gaussian',
  'adapter.bias_type': 'all',
  'adapter.feedforward_modules': ['v_proj'],
  'adapter.loraplus_lr_ratio': 4,
  'adapter.layers_to_transform': [1],
  'adapter.layers_pattern': ['blocks'],
  'adapter.modules_to_save': ['norm'],
  'adapter.pretrained_adapter_weights': 'there',
  'adapter.target_modules': ['k_proj'],
  'adapter.postprocessor.merge_adapter_into_base_model': true,
  'quantization.bits': 8,
  'quantization.llm_int8_threshold': 1,
  'quantization.bnb_4bit_quant_type': 'fp4',
  'quantization.bnb_4bit_use_double_quant': false,
  'quantization.bnb_4bit_compute_dtype': 'float16',
  'model_parameters.neftune_noise_alpha': 5,
  'model_parameters.rope_scaling.rope_type': 'dynamic',
  'model_parameters.rope_scaling.factor': 3,
  'trainer.type': 'none',
  'trainer.epochs': 2,
  'trainer.train_steps': 7,
  'trainer.batch_size': 3,
  'trainer.eval_batch_size': 3,
  'trainer.max_batch_size': 1,
  'trainer.effective_batch_size': 8,
  'trainer.gradient_accumulation_steps': 3,
  'trainer.layers_to_freeze_regex': 'v_proj',
  'trainer.optimizer.type': 'adam',
  'trainer.optimizer.betas': [0.5, 0.6],
  'trainer.optimizer.eps': 0.1,
  'trainer.optimizer.weight_decay': 0.2,
  'trainer.optimizer.momentum': 0.5,
  'trainer.optimizer.dampening': 0.5,
  'trainer.optimizer.nesterov': true,
  'trainer.optimizer.initial_accumulator_value': 0.5,
  'trainer.optimizer.lr_decay': 0.5,
  'trainer.optimizer.scale_parameter': false,
  'trainer.optimizer.relative_step': false,
  'trainer.optimizer.warmup_init': true,
  'trainer.learning_rate': 0.4,
  'trainer.learning_rate_scheduler.decay': 'linear',
  'trainer.learning_rate_scheduler.warmup_fraction': 0.5,
  'trainer.learning_rate_scheduler.warmup_evaluations': 2,
  'trainer.learning_rate_scheduler.t_0': 3,
  'trainer.learning_rate_scheduler.t_mult': 2,
  'trainer.learning_rate_scheduler.eta_min': 0.1,
  'trainer.learning_rate_scheduler.decay_rate': 0.5,
  'trainer.learning_rate_scheduler.decay_steps': 5,
  'trainer.learning_rate_scheduler.staircase': true,
  'trainer.learning_rate_scheduler.inverse_sqrt_warmup_steps': 5,
  'trainer.learning_rate_scheduler.polynomial_power': 3,
  'trainer.learning_rate_scheduler.polynomial_end_lr': 0.5,
  'trainer.learning_rate_scheduler.wsd_warmup_fraction': 0.2,
  'trainer.learning_rate_scheduler.wsd_stable_fraction': 0.3,
  'trainer.learning_rate_scheduler.wsd_decay_fraction': 0.2,
  'trainer.learning_rate_scheduler.max_lr': 0.6,
  'trainer.learning_rate_scheduler.pct_start': 0.5,
  'trainer.learning_rate_scheduler.div_factor': 5,
  'trainer.learning_rate_scheduler.final_div_factor': 5,
  'trainer.learning_rate_scheduler.reduce_on_plateau': 3,
  'trainer.learning_rate_scheduler.reduce_on_plateau_patience': 1,
  'trainer.learning_rate_scheduler.reduce_on_plateau_rate': 0.5,
  'trainer.learning_rate_scheduler.reduce_eval_metric': 'perplexity',
  'trainer.learning_rate_scheduler.reduce_eval_split': 'validation',
  'trainer.gradient_clipping.clipglobalnorm': 0.01,
  'trainer.enable_gradient_checkpointing': true,
  'trainer.early_stop': 1,
  'trainer.steps_per_checkpoint': 2,
  'trainer.checkpoints_per_epoch': 2,
  'trainer.eval_steps': 1,
  'trainer.evaluate_training_set': true,
  'trainer.skip_all_evaluation': true,
  'trainer.validation_metric': 'token_accuracy',
  'trainer.validation_field': 'instruction',
  'trainer.should_shuffle': false,
  'trainer.beta': 0.2,
  'trainer.loss_type': 'ipo',
  'trainer.label_smoothing': 0.1,
  'trainer.rejected_column': 'topic',
  'trainer.label_column': 'topic',
  'trainer.desirable_weight': 2,
  'trainer.undesirable_weight': 2,
  'generation.max_new_tokens': 2,
  'generation.min_new_tokens': 4,
  'generation.do_sample': false,
  'generation.temperature': 0.5,
  'generation.top_k': 3,
  'generation.top_p': 0.5,
  'generation.num_beams': 2,
  'generation.length_penalty': 2,
  'generation.early_stopping': true,
  'generation.repetition_penalty': 3,
  'generation.no_repeat_ngram_size': 1,
  'generation.stop_strings': [...'abcdefghijklmnopqrstuvwxyz \n0123456789'],
  random_seed: 7,
  'backend.type': 'cloud',
  'compiler.dataset': 'other.csv',
  'compiler.memory_budget': '1kB',
  'compiler.compute_dtype': 'float16',
  'compiler.backend': 'reference',
  'compiler.recompute': 'layers',
  'compiler.micro_batch_rows': 5,
  'compiler.row_length': 80,
  'compiler.target_bos': true,
  'compiler.na_as_text': true,
}

const pathOf = (key: string): ReadonlyArray<string> => key.split(/\.|\[(\d)\]\.?/).filter((k) => k)

const changed = (doc: unknown, changes: Readonly<Record<string, unknown>>): unknown =>
  Object.entries(changes).reduce((d, [key, value]) => put(d, pathOf(key), value), doc)

/** Where a key may mean nothing because of another one. */
const contexts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'as it is': {},
  'no template, fixed split, greedy answers': {
    'prompt.template': undefined,
    'preprocessing.split': { type: 'fixed' },
    'generation.do_sample': false,
    'generation.temperature': undefined,
  },
  'a task, steps, one candidate': {
    'prompt.template': undefined,
    'prompt.task': 'answer',
    'trainer.epochs': undefined,
    'trainer.train_steps': 8,
    'generation.top_k': 1,
    'generation.temperature': undefined,
  },
  'no evaluation, linear decay': {
    'trainer.skip_all_evaluation': true,
    'trainer.learning_rate_scheduler': { decay: 'linear', warmup_fraction: 0.1 },
  },
  'the whole sample in 8 bits, few evaluated, no decay': {
    'prompt.template': 'Q: {__sample__}',
    quantization: { bits: 8 },
    'trainer.eval_steps': 1,
    'trainer.learning_rate_scheduler': undefined,
  },
  'full fine-tuning, batches chosen': {
    adapter: undefined,
    quantization: undefined,
    'trainer.batch_size': 'auto',
    'trainer.max_batch_size': 2,
    'trainer.gradient_accumulation_steps': undefined,
  },
}

/** The same job with a head that predicts a label; the encoder's own keys stand where those of a language model do. */
const labels: Readonly<Record<string, unknown>> = {
  model_type: 'ecd',
  'input_features[0].encoder': { type: 'llm' },
  'output_features[0]': { name: 'kind', type: 'category' },
  generation: undefined,
}

const labelContexts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'a category beside an adapter': labels,
  'a number, all weights trained': {
    ...labels,
    'output_features[0]': { name: 'number', type: 'number' },
    adapter: undefined,
    quantization: undefined,
  },
  'a truth over a frozen encoder': {
    ...labels,
    'output_features[0]': {
      name: 'even',
      type: 'binary',
      preprocessing: { fallback_true_label: 'third' },
    },
    'input_features[0].encoder': { type: 'llm', trainable: false },
    adapter: undefined,
    quantization: undefined,
    'preprocessing.split': { type: 'stratify', column: 'even', probabilities: [0.5, 0.25, 0.25] },
  },
}

/** Metrics that choose the same of three evaluations, and a third that is the best: other contexts tell them apart. */
const undecided = [
  'a task, steps, one candidate: trainer.validation_metric',
  'the whole sample in 8 bits, few evaluated, no decay: trainer.validation_metric',
  'full fine-tuning, batches chosen: trainer.early_stop',
  'a number, all weights trained: trainer.early_stop',
]

const writeJob = async (folder: string): Promise<void> => {
  await writeModel(path.join(folder, 'base'), 3)
  await writeModel(path.join(folder, 'other'), 4)
  const rows = (offset: number): string => {
    const lines = Array.from({ length: 12 }, (_, i) => {
      const [n, part] = [i + offset, i < 6 ? 0 : i < 9 ? 1 : 2]
      return `Say ${'many '.repeat(i % 3)}${n},${n === 5 ? 'NA' : 2 * n},about ${n % 4},${part},${(part + 1) % 3},${n === 5 ? 'NA' : `${n},${n % 3 === 0 ? 'third' : 'whole'},about ${n % 4}`}${n === 5 ? ',NA,NA' : ''}`
    })
    return `instruction,output,topic,split,part,number,even,kind\n${lines.join('\n')}\n`
  }
  await fs.writeFile(path.join(folder, 'data.csv'), rows(0))
  await fs.writeFile(path.join(folder, 'other.csv'), rows(1))
}

const leaves = supported
  .map(({ section, key }) => (section === '' ? key : `${section}.${key}`))
  .filter((key, _, all) => !all.some((k) => k.startsWith(`${key}.`) || k.startsWith(`${key}[`)))

test('the table names every key of the config and no other', () =>
  assert.deepEqual(Object.keys(others).toSorted(), leaves.toSorted()))

test('every key has an effect or a notice in every context', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    const idle: Array<string> = []
    for (const [name, changes] of Object.entries({ ...contexts, ...labelContexts })) {
      const doc = changed(base, changes)
      const before = observe(folder, doc)
      assert.ok(before.view !== null, `${name}: ${before.said}`)
      for (const [key, value] of Object.entries(others)) {
        if (isDeepStrictEqual(get(doc, pathOf(key)), value)) continue
        const after = observe(folder, put(doc, pathOf(key), value))
        const noted = after.notices.some((n) => n.includes(key.split('.').at(-1)!))
        if (!noted && !(await differs(before, after))) idle.push(`${name}: ${key}`)
      }
    }
    assert.deepEqual(
      idle.filter((i) => !undecided.includes(i)),
      [],
    )
  }))
