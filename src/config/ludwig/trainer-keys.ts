/** What else Ludwig knows inside `trainer`. */
import { defaults, keysOfType, no, type Known } from './known.ts'

const lossOnly = "leave it out: only training on the output's text is supported"
const packs = 'leave it out: rows are always packed, which changes no result'

const optimizer: Known = {
  amsgrad: no('leave it out', false),
  ...keysOfType('adadelta', 'rho'),
  ...keysOfType('nadam', 'momentum_decay'),
  ...keysOfType('rmsprop rmsprop_8bit', 'alpha centered'),
  ...keysOfType(
    'lbfgs',
    'max_iter max_eval tolerance_grad tolerance_change history_size line_search_fn',
  ),
  lr: no('write it as `trainer.learning_rate`', null),
  ...keysOfType('schedule_free_adamw', 'warmup_steps'),
  ...keysOfType('lamb lamb_8bit', 'bias_correction adam_w_mode'),
  ...keysOfType('lamb lamb_8bit lars lars_8bit', 'max_unorm'),
  percentile_clipping: no('leave it out: `gradient_clipping.clipglobalnorm` clips', 100),
  block_wise: no('leave it out: 8-bit state is always in blocks', true),
}

const formerly: Known = {
  decay: no('leave it out, and set `learning_rate_scheduler.decay: linear`', false),
  learning_rate_warmup_epochs: no('write it as `learning_rate_scheduler.warmup_evaluations`'),
  decay_rate: no('write it as `learning_rate_scheduler.decay_rate`', 0.96),
  decay_steps: no('write it as `learning_rate_scheduler.decay_steps`', 10000),
  staircase: no('write it as `learning_rate_scheduler.staircase`', false),
  ...Object.fromEntries(
    [
      ['on_plateau', 0],
      ['on_plateau_patience', 10],
      ['on_plateau_rate', 0.1],
      ['eval_metric', 'loss'],
      ['eval_split', 'training'],
    ].map(([key, inert]) => [
      `reduce_learning_rate_${key}`,
      no(`write it as \`learning_rate_scheduler.reduce_${key}\``, inert),
    ]),
  ),
}

const preference: Known = {
  ...keysOfType('grpo', 'grpo_beta grpo_epsilon grpo_num_generations'),
}

const batches: Known = defaults(
  {
    increase_batch_size_on_plateau: 0,
    increase_batch_size_on_plateau_patience: 5,
    increase_batch_size_on_plateau_rate: 2,
    increase_batch_size_eval_metric: 'loss',
    increase_batch_size_eval_split: 'training',
    bucketing_field: null,
  },
  'leave it out: the batch keeps its size',
)

export const trainerKeys: Known = {
  ...preference,
  ...formerly,
  ...batches,
  learning_rate_scaling: no('leave it out: there is one worker', 'linear', 'sqrt', 'constant'),
  regularization_type: no(
    'leave it out: `optimizer.weight_decay` is all there is',
    'l2',
    'l1',
    'l1_l2',
    null,
  ),
  regularization_lambda: no('write it as `optimizer.weight_decay`', 0),
  use_mixed_precision: no('leave it out, and set `compiler.compute_dtype: float16`', false),
  compile: no('leave it out: tunec always compiles', false),
  enable_profiling: no('leave it out', false),
  profiler: no('leave it out', null, { wait: 1, warmup: 1, active: 3, repeat: 5, skip_first: 0 }),
  base_learning_rate: no('write it as `learning_rate`', 0),
  packing: no(packs, false),
  packing_max_sequences_per_pack: no(packs, 8),
  loss_balancing: no(lossOnly, 'none'),
  'loss_balancing_*': no(lossOnly),
  modality_dropout: no(lossOnly, 0),
  model_soup: no('leave it out: the best checkpoint is kept', null),
  model_soup_top_k: no('leave it out: the best checkpoint is kept', 5),
  'contrastive_pretrain_*': no(lossOnly),
  optimizer: { section: optimizer },
  gradient_clipping: {
    section: {
      clipnorm: no('leave it out: `clipglobalnorm` clips all gradients together', null),
      clipvalue: no('leave it out: `clipglobalnorm` clips all gradients together', null),
    },
  },
}
