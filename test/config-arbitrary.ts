/** Arbitrary configs that obey every rule, written from the rules and not from the codecs. */
import fc from 'fast-check'

import type { Config } from '../src/config/index.ts'
import { defaultsOf } from '../src/config/schema/optimizer.ts'
import { prompt, text } from './config-arbitrary-prompt.ts'

/** Columns and features by their sanitised names. */
const named = text.map((s) => s.replace(/[(){}.:"'[\]]/g, '_'))

const positive = fc.integer({ min: 1, max: 1_000_000 })
const natural = fc.nat(1_000_000)
const orAuto = <A>(a: fc.Arbitrary<A>) => fc.oneof(fc.constant('auto' as const), a)
const orNull = <A>(a: fc.Arbitrary<A>) => fc.option(a)
const fraction = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }).map((x) => x + 0)
const share = fc.double({ min: 0, minExcluded: true, max: 1, noNaN: true })
const atLeastZero = fc.double({ min: 0, max: 1e30, noNaN: true }).map((x) => x + 0)

const split: fc.Arbitrary<Config['preprocessing']['split']> = fc.oneof(
  fc.tuple(fc.nat(60), fc.nat(39)).map(([validation, test]) => ({
    type: 'random' as const,
    probabilities: [(100 - validation - test) / 100, validation / 100, test / 100] as const,
  })),
  fc.record({ type: fc.constant('fixed' as const), column: named }),
  named.map((column) => ({
    type: 'stratify' as const,
    column,
    probabilities: [0.5, 0.25, 0.25] as const,
  })),
)

const preprocessing: fc.Arbitrary<Config['preprocessing']> = fc
  .tuple(
    fc.oneof(
      share.map((r) => [r, null] as const),
      positive.map((n) => [1, n] as const),
    ),
  )
  .chain(([[sample_ratio, sample_size]]) =>
    fc.record({
      sample_ratio: fc.constant(sample_ratio),
      sample_size: fc.constant(sample_size),
      global_max_sequence_length: orNull(positive),
      split,
      oversample_minority: fc.constant(null),
      undersample_majority: fc.constant(null),
    }),
  )

const words = fc.array(text, { minLength: 1, maxLength: 4 })
const rank = fc.integer({ min: 1, max: 2 ** 16 })
const patterns = <A>(value: fc.Arbitrary<A>) =>
  orNull(fc.dictionary(fc.constantFrom('q_proj', '.*', 'layers\\.[0-3]\\..*', 'a|b'), value))

const adapter: fc.Arbitrary<NonNullable<Config['adapter']>> = fc
  .record({
    type: fc.constantFrom('lora' as const, 'ia3' as const),
    r: rank,
    alpha: fc.oneof(positive, share),
    rank_pattern: patterns(rank),
    alpha_pattern: patterns(fc.oneof(positive, share)),
    use_rslora: fc.boolean(),
    use_dora: fc.boolean(),
    init_lora_weights: fc.constantFrom('default' as const, 'gaussian' as const),
    dropout: fraction,
    bias_type: fc.constantFrom('none' as const, 'all' as const, 'lora_only' as const),
    target_modules: fc.oneof(fc.constantFrom(null, 'all-linear' as const, '.*(q|v)_proj'), words),
    feedforward_modules: orNull(words),
    layers_to_transform: orNull(fc.array(fc.nat(99), { minLength: 1, maxLength: 3 })),
    layers_pattern: orNull(words),
    modules_to_save: orNull(words),
    loraplus_lr_ratio: orNull(positive),
    pretrained_adapter_weights: orNull(text),
    postprocessor: fc.record({
      merge_adapter_into_base_model: fc.boolean(),
    }),
  })
  .map((a) => (a.target_modules === '.*(q|v)_proj' ? { ...a, layers_to_transform: null } : a))

type Dtype = 'float32' | 'bfloat16' | 'float16'
const dtype: fc.Arbitrary<Dtype> = fc.constantFrom('float32', 'bfloat16', 'float16')

const quantization = (compute: Dtype | null): fc.Arbitrary<NonNullable<Config['quantization']>> =>
  fc.record({
    bits: fc.constantFrom(4, 8),
    llm_int8_threshold: fc.constantFrom(0, 4.5, 6),
    bnb_4bit_quant_type: fc.constant('nf4'),
    bnb_4bit_use_double_quant: fc.boolean(),
    bnb_4bit_compute_dtype: fc.constant(compute),
  })

/** Batch, accumulation and effective size that divide one another. */
const batches = fc
  .tuple(fc.integer({ min: 1, max: 64 }), fc.integer({ min: 1, max: 64 }), fc.nat(3))
  .chain(([batch, steps, factor]) =>
    fc.record({
      batch_size: orAuto(fc.constant(batch)),
      gradient_accumulation_steps: orAuto(fc.constant(steps)),
      effective_batch_size: orAuto(fc.constant(batch * steps * (factor + 1))),
      max_batch_size: fc.integer({ min: 64 * 64 * 4, max: 2 ** 40 }),
    }),
  )

const checkpoints = fc
  .tuple(natural, natural, fc.boolean())
  .map(([steps, times, bySteps]) =>
    bySteps
      ? { steps_per_checkpoint: steps, checkpoints_per_epoch: 0 }
      : { steps_per_checkpoint: 0, checkpoints_per_epoch: times },
  )

const scheduler = (
  learningRate: number,
): fc.Arbitrary<Config['trainer']['learning_rate_scheduler']> =>
  fc.record({
    decay: fc.constantFrom(
      ...([null, 'linear', 'cosine', 'constant', 'exponential', 'inverse_sqrt'] as const),
      ...(['polynomial', 'wsd', 'one_cycle'] as const),
    ),
    warmup_fraction: fraction,
    warmup_evaluations: atLeastZero,
    t_0: orNull(positive),
    t_mult: positive,
    eta_min: fc.constantFrom(0, learningRate),
    decay_rate: share,
    decay_steps: positive,
    staircase: fc.boolean(),
    inverse_sqrt_warmup_steps: positive,
    polynomial_power: share,
    polynomial_end_lr: fraction,
    wsd_warmup_fraction: fc.constantFrom(0, 0.25),
    wsd_stable_fraction: fc.constantFrom(0.5, 0.75),
    wsd_decay_fraction: fc.constant(null),
    max_lr: orNull(share),
    pct_start: fraction,
    div_factor: positive,
    final_div_factor: positive,
    reduce_on_plateau: natural,
    reduce_on_plateau_patience: natural,
    reduce_on_plateau_rate: fraction,
    reduce_eval_metric: fc.constantFrom('loss' as const, 'perplexity' as const),
    reduce_eval_split: fc.constantFrom('training' as const, 'validation' as const),
  })

const noPreference = {
  beta: fc.constant(null),
  loss_type: fc.constant(null),
  label_smoothing: fc.constant(null),
  rejected_column: fc.constant(null),
  label_column: fc.constant(null),
  desirable_weight: fc.constant(null),
  undesirable_weight: fc.constant(null),
}
/** A type's own keys; the others are null. */
const optimizer: fc.Arbitrary<Config['trainer']['optimizer']> = fc
  .tuple(
    fc.constantFrom(
      ...(['adam', 'adamw', 'sgd', 'adagrad', 'lion', 'adamw_8bit', 'lion_8bit'] as const),
    ),
    fc.record({
      betas: fc.tuple(fraction, fraction),
      eps: share,
      momentum: fraction,
      dampening: fc.constant(0),
      nesterov: fc.constant(false),
      initial_accumulator_value: atLeastZero,
      lr_decay: atLeastZero,
      scale_parameter: fc.boolean(),
      relative_step: fc.constant(true),
      warmup_init: fc.boolean(),
    }),
    atLeastZero,
  )
  .map(([type, values, weight_decay]) => ({
    type,
    weight_decay,
    ...(Object.fromEntries(
      Object.entries(values).map(([key, v]) => [key, key in defaultsOf(type) ? v : null]),
    ) as typeof values),
  }))

const restOfTrainer = (output: string, checkpointing: boolean, learningRate: number) =>
  fc.record({
    type: fc.constant('finetune' as const),
    epochs: positive,
    train_steps: orNull(positive),
    eval_batch_size: orNull(orAuto(positive)),
    layers_to_freeze_regex: fc.constantFrom(null, 'layers\\.0\\.'),
    optimizer,
    learning_rate: fc.constant(learningRate),
    learning_rate_scheduler: scheduler(learningRate),
    gradient_clipping: fc.record({ clipglobalnorm: orNull(share) }),
    enable_gradient_checkpointing: fc.constant(checkpointing),
    early_stop: fc.integer({ min: -1, max: 100 }),
    eval_steps: orNull(positive),
    evaluate_training_set: fc.boolean(),
    skip_all_evaluation: fc.boolean(),
    validation_metric: fc.constantFrom(
      'loss' as const,
      'perplexity' as const,
      'next_token_perplexity' as const,
      'token_accuracy' as const,
      'sequence_accuracy' as const,
    ),
    validation_field: fc.constant(output),
    should_shuffle: fc.boolean(),
    ...noPreference,
  })

/** The keys of a type that learns preferences; columns that are no feature's. */
const preference = fc.oneof(
  fc.record({
    ...noPreference,
    type: fc.constant('dpo' as const),
    beta: share,
    loss_type: fc.constantFrom('sigmoid' as const, 'robust' as const, 'sigmoid_norm' as const),
    label_smoothing: fc.constantFrom(0, 0.25),
    rejected_column: named.map((s) => `worse ${s}`),
  }),
  fc.record({
    ...noPreference,
    type: fc.constant('orpo' as const),
    beta: share,
    rejected_column: named.map((s) => `worse ${s}`),
  }),
  fc.record({
    ...noPreference,
    type: fc.constant('kto' as const),
    beta: share,
    label_column: named.map((s) => `good ${s}`),
    desirable_weight: share,
    undesirable_weight: share,
  }),
)

const trainer = (output: string, checkpointing: boolean): fc.Arbitrary<Config['trainer']> =>
  share
    .chain((rate) =>
      fc.tuple(
        restOfTrainer(output, checkpointing, rate),
        batches,
        checkpoints,
        fc.option(preference, { freq: 2 }),
      ),
    )
    .map(([rest, batch, when, prefers]) => ({
      ...rest,
      ...batch,
      ...when,
      ...(prefers === null
        ? {}
        : {
            ...prefers,
            validation_metric: 'loss' as const,
            learning_rate_scheduler: {
              ...rest.learning_rate_scheduler,
              reduce_eval_metric: 'loss' as const,
            },
          }),
    }))

const generation: fc.Arbitrary<Config['generation']> = fc
  .tuple(orNull(positive), fc.boolean(), share)
  .chain(([longest, do_sample, warm]) =>
    fc.record({
      max_new_tokens: fc.constant(longest),
      min_new_tokens: fc.constantFrom(null, 0, ...(longest === null ? [7] : [longest])),
      do_sample: fc.constant(do_sample),
      temperature: fc.constantFrom(warm, ...(do_sample ? [] : [0])),
      top_k: natural,
      top_p: share,
      num_beams: positive,
      length_penalty: fc.double({ min: -5, max: 5, noNaN: true }).map((x) => x + 0),
      early_stopping: fc.constantFrom(true, false, 'never' as const),
      repetition_penalty: fc.double({ min: 0, minExcluded: true, max: 5, noNaN: true }),
      no_repeat_ngram_size: natural,
      stop_strings: orNull(fc.array(text, { minLength: 1, maxLength: 3 })),
    }),
  )

const feature = (name: string) => ({
  name: fc.constant(name),
  type: fc.constant('text' as const),
  column: fc.oneof(
    fc.constant(name),
    named.map((s) => `column ${s}`),
  ),
})

const input = (name: string): fc.Arbitrary<Config['input_features'][0]> =>
  fc.record({
    ...feature(name),
    preprocessing: fc.record({
      max_sequence_length: orNull(positive),
      cache_encoder_embeddings: fc.constant(false),
    }),
    encoder: fc.constant(null),
  })

const output = (name: string): fc.Arbitrary<Config['output_features'][0]> =>
  fc.record({
    ...feature(name),
    preprocessing: fc.record({ max_sequence_length: orNull(positive) }),
  })

const compiler = (
  compute: Dtype | null,
  recompute: Config['compiler']['recompute'],
): fc.Arbitrary<Config['compiler']> =>
  fc.record({
    dataset: orNull(text),
    memory_budget: recompute === 'budget' ? positive : orNull(fc.integer({ min: 1, max: 2 ** 50 })),
    compute_dtype: fc.constantFrom('auto', ...(compute === null ? [] : [compute])),
    backend: fc.constantFrom('auto', 'onnx', 'tfjs', 'reference'),
    recompute: fc.constant(recompute),
    micro_batch_rows: orAuto(fc.integer({ min: 1, max: 2 ** 16 })),
    row_length: orAuto(fc.integer({ min: 1, max: 2 ** 20 })),
    target_bos: fc.boolean(),
    na_as_text: fc.boolean(),
  })

const recomputation: fc.Arbitrary<readonly [Config['compiler']['recompute'], boolean]> =
  fc.constantFrom(
    ['auto', true],
    ['auto', false],
    ['none', false],
    ['layers', true],
    ['budget', true],
  )

export const config: fc.Arbitrary<Config> = fc
  .tuple(named, named, recomputation, orNull(dtype), fc.constantFrom('none', 'lora', 'qlora'))
  .chain(([from, to, [recompute, checkpointing], compute, kind]) =>
    fc.record({
      model_type: fc.constant('llm' as const),
      base_model: text.map((s) => `models/${s}`),
      input_features: fc.tuple(input(`in ${from}`)),
      output_features: fc.tuple(output(`out ${to}`)),
      prompt,
      preprocessing,
      adapter: kind === 'none' ? fc.constant(null) : adapter,
      quantization: kind === 'qlora' ? quantization(compute) : fc.constant(null),
      model_parameters: fc.record({
        neftune_noise_alpha: fc.constantFrom(0, 5),
        rope_scaling: orNull(
          fc.record({
            rope_type: fc.constant('linear' as const),
            factor: fc.double({ min: 1, minExcluded: true, max: 1e6, noNaN: true }),
          }),
        ),
      }),
      trainer: trainer(`out ${to}`, checkpointing),
      generation,
      random_seed: fc.nat(2 ** 32 - 1),
      backend: fc.constant({ type: 'local' as const }),
      compiler: compiler(compute, recompute),
    }),
  )
