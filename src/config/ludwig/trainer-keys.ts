/** What else Ludwig knows inside `trainer`. */
import { defaults, keysOfType, no, type Known } from './known.ts'

const lossOnly = "leave it out: only training on the output's text is supported"
const packs = 'leave it out: rows are always packed, which changes no result'

const optimizer: Known = {
  amsgrad: no('leave it out', false),
  ...keysOfType('sgd rmsprop muon lars sgd_8bit rmsprop_8bit lars_8bit', 'momentum'),
  ...keysOfType('sgd lars sgd_8bit lars_8bit', 'dampening'),
  ...keysOfType('sgd muon lars sgd_8bit lars_8bit', 'nesterov'),
  ...keysOfType('adadelta', 'rho'),
  ...keysOfType('adagrad adagrad_8bit', 'initial_accumulator_value lr_decay'),
  ...keysOfType('nadam', 'momentum_decay'),
  ...keysOfType('rmsprop rmsprop_8bit', 'alpha centered'),
  ...keysOfType(
    'lbfgs',
    'max_iter max_eval tolerance_grad tolerance_change history_size line_search_fn',
  ),
  ...keysOfType('adafactor', 'lr scale_parameter relative_step warmup_init'),
  ...keysOfType('schedule_free_adamw', 'warmup_steps'),
  ...keysOfType('lamb lamb_8bit', 'bias_correction adam_w_mode'),
  ...keysOfType('lamb lamb_8bit lars lars_8bit', 'max_unorm'),
  ...keysOfType(
    'sgd_8bit adam_8bit adamw_8bit paged_adam paged_adam_8bit paged_adamw paged_adamw_8bit ' +
      'adagrad_8bit rmsprop_8bit lamb lamb_8bit lars lars_8bit lion lion_8bit paged_lion paged_lion_8bit',
    'percentile_clipping block_wise',
  ),
}

const noSuchDecay = 'leave it out: the decay is linear, cosine, constant or null'

const scheduler: Known = defaults(
  {
    decay_rate: 0.96,
    decay_steps: 10000,
    staircase: false,
    reduce_on_plateau: 0,
    reduce_on_plateau_patience: 10,
    reduce_on_plateau_rate: 0.1,
    reduce_eval_metric: 'loss',
    reduce_eval_split: 'training',
    max_lr: null,
    pct_start: 0.3,
    div_factor: 25,
    final_div_factor: 10000,
    inverse_sqrt_warmup_steps: 4000,
    polynomial_power: 1,
    polynomial_end_lr: 0,
    wsd_warmup_fraction: 0.1,
    wsd_stable_fraction: 0.8,
    wsd_decay_fraction: 0.1,
  },
  noSuchDecay,
)

const formerly: Known = {
  decay: no('leave it out, and set `learning_rate_scheduler.decay: linear`', false),
  learning_rate_warmup_epochs: no('write it as `learning_rate_scheduler.warmup_evaluations`'),
  ...defaults(
    {
      decay_rate: 0.96,
      decay_steps: 10000,
      staircase: false,
      reduce_learning_rate_on_plateau: 0,
      reduce_learning_rate_on_plateau_patience: 10,
      reduce_learning_rate_on_plateau_rate: 0.1,
      reduce_learning_rate_eval_metric: 'loss',
      reduce_learning_rate_eval_split: 'training',
    },
    noSuchDecay,
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
  layers_to_freeze_regex: no(
    'leave it out: `adapter.target_modules` chooses what is trained',
    null,
  ),
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
  learning_rate_scheduler: { section: scheduler },
  gradient_clipping: {
    section: {
      clipnorm: no('leave it out: `clipglobalnorm` clips all gradients together', null),
      clipvalue: no('leave it out: `clipglobalnorm` clips all gradients together', null),
    },
  },
}
