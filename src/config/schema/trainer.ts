/** `trainer`: how long, how much at once, how often to look. */
import * as t from 'io-ts'

import {
  natural,
  nullable,
  numberThat,
  oneOf,
  orAuto,
  positive,
  section,
  share,
  text,
  truth,
  withDefault,
} from './codec.ts'
import { gradientClipping, learningRateScheduler, metrics } from './optimization.ts'
import { optimizer } from './optimizer.ts'
import { pattern } from './pattern.ts'
import { preferenceKeys } from './preference.ts'

/** Those of texts, of preferences, and of labels and numbers. */
const validationMetrics = oneOf(
  ...metrics.words,
  'reward_accuracy',
  'reward_margin',
  'accuracy',
  'accuracy_micro',
  'roc_auc',
  'hits_at_k',
  'mean_squared_error',
  'mean_absolute_error',
  'root_mean_squared_error',
  'r2',
)

const openTrainer = section({
  /** none: the model is asked as it is; dpo, kto and orpo learn from preferences. */
  type: oneOf('finetune', 'none', 'dpo', 'kto', 'orpo'),
  epochs: withDefault(positive, 100),
  /** Micro-batches of `batch_size` samples; overrides `epochs`. */
  train_steps: withDefault(nullable(positive), null),
  /** Samples of one micro-batch. */
  batch_size: withDefault(orAuto(positive), 1),
  /** Null: as `batch_size`. */
  eval_batch_size: withDefault(nullable(orAuto(positive)), 2),
  /** Bounds `batch_size: auto`. */
  max_batch_size: withDefault(positive, 2 ** 40),
  /** Samples of one optimizer step. */
  effective_batch_size: withDefault(orAuto(positive), 'auto'),
  gradient_accumulation_steps: withDefault(orAuto(positive), 'auto'),
  /** Searched for in the names of parameters; what matches is not trained. */
  layers_to_freeze_regex: withDefault(nullable(pattern), null),
  optimizer,
  learning_rate: withDefault(share, 0.001),
  learning_rate_scheduler: learningRateScheduler,
  gradient_clipping: gradientClipping,
  /** Filled from `compiler.recompute` when the file does not say. */
  enable_gradient_checkpointing: withDefault(nullable(truth), null),
  /** Evaluations without improvement before stopping; 0 and −1: never. */
  early_stop: withDefault(
    numberThat('a whole number of at least -1', (n) => Number.isSafeInteger(n) && n >= -1),
    5,
  ),
  /** Micro-batches between evaluations; 0: one evaluation an epoch. */
  steps_per_checkpoint: withDefault(natural, 0),
  /** Evaluations an epoch; 0: as `steps_per_checkpoint` says. */
  checkpoints_per_epoch: withDefault(natural, 0),
  /** Most batches of one evaluation; null: all. */
  eval_steps: withDefault(nullable(positive), null),
  /** A separate pass over the training split at each evaluation. */
  evaluate_training_set: withDefault(truth, false),
  skip_all_evaluation: withDefault(truth, false),
  /** Chooses the best checkpoint; null in the file: loss of a text, else the feature's own default. */
  validation_metric: withDefault(nullable(validationMetrics), null),
  /** The output feature. */
  validation_field: withDefault(nullable(text), null),
  should_shuffle: withDefault(truth, true),
  ...preferenceKeys,
})

export type OpenTrainer = t.TypeOf<typeof openTrainer>

const untrained: t.Validation<OpenTrainer> = openTrainer.decode({ type: 'none' })

/** A file without a trainer trains nothing, as in Ludwig. */
export const trainer: typeof openTrainer = Object.assign(
  new t.Type<OpenTrainer, unknown, unknown>(
    openTrainer.name,
    openTrainer.is,
    (u, c) => (u === undefined || u === null ? untrained : openTrainer.validate(u, c)),
    t.identity,
  ),
  { props: openTrainer.props },
)
