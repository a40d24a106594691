/** `trainer.learning_rate_scheduler` and `trainer.gradient_clipping`. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

import {
  atLeastZero,
  fraction,
  natural,
  nullable,
  numberThat,
  oneOf,
  positive,
  section,
  share,
  truth,
  withDefault,
} from './codec.ts'

export const metrics = oneOf(
  'loss',
  'perplexity',
  'next_token_perplexity',
  'token_accuracy',
  'sequence_accuracy',
)

const above = numberThat('a number greater than 0', (n) => n > 0)
const whole = numberThat('a number in [0, 1]', (n) => n >= 0 && n <= 1)

export const learningRateScheduler = section({
  /** After warm-up; null and constant are the same. */
  decay: withDefault(
    nullable(
      oneOf(
        'linear',
        'cosine',
        'constant',
        'exponential',
        'inverse_sqrt',
        'polynomial',
        'wsd',
        'one_cycle',
      ),
    ),
    null,
  ),
  /** Share of all steps; the larger of the two warm-ups wins. */
  warmup_fraction: withDefault(fraction, 0),
  /** Warm-up in evaluations. */
  warmup_evaluations: withDefault(atLeastZero, 0),
  /** Steps of the first cosine period; null: one evaluation interval, as Ludwig has it. */
  t_0: withDefault(nullable(positive), null),
  /** Each cosine period is this many times the one before. */
  t_mult: withDefault(positive, 1),
  /** The learning rate at the end of a cosine period. */
  eta_min: withDefault(atLeastZero, 0),
  /** Exponential: decay_rate to the power of 1 + steps / decay_steps, whole with `staircase`. */
  decay_rate: withDefault(share, 0.96),
  decay_steps: withDefault(positive, 10000),
  staircase: withDefault(truth, false),
  /** Inverse square root: steps before which it does not fall. */
  inverse_sqrt_warmup_steps: withDefault(positive, 4000),
  polynomial_power: withDefault(above, 1),
  /** Share of the learning rate at the end. */
  polynomial_end_lr: withDefault(whole, 0),
  /** Shares of all steps; what is left is decay. */
  wsd_warmup_fraction: withDefault(whole, 0.1),
  wsd_stable_fraction: withDefault(whole, 0.8),
  /** Says again what is left. */
  wsd_decay_fraction: withDefault(nullable(whole), null),
  /** One cycle: its greatest learning rate, null for the learning rate itself. */
  max_lr: withDefault(nullable(share), null),
  /** Share of the steps in which it rises. */
  pct_start: withDefault(whole, 0.3),
  /** It begins at max_lr / div_factor, and ends at a final_div_factor-th of that. */
  div_factor: withDefault(above, 25),
  final_div_factor: withDefault(above, 10000),
  /** How often it may be reduced, each time after more than `patience` evaluations without improvement. */
  reduce_on_plateau: withDefault(natural, 0),
  reduce_on_plateau_patience: withDefault(natural, 10),
  reduce_on_plateau_rate: withDefault(whole, 0.1),
  reduce_eval_metric: withDefault(metrics, 'loss'),
  reduce_eval_split: withDefault(oneOf('training', 'validation'), 'training'),
})

const norm = new t.Type<number | null, unknown, unknown>(
  'a number of at least 0, or null',
  (u): u is number | null => u === null || (atLeastZero.is(u) && u > 0),
  (u, c) =>
    u === null || u === 0
      ? t.success(null)
      : E.map((n: number): number | null => n)(atLeastZero.validate(u, c)),
  t.identity,
)

export const gradientClipping = section({
  /** Greatest norm of all gradients together; null (or 0 in the file): no clipping. */
  clipglobalnorm: withDefault(norm, 0.5),
})
