/** `trainer.optimizer`, `trainer.learning_rate_scheduler` and `trainer.gradient_clipping`. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

import {
  atLeastZero,
  fraction,
  guard,
  nullable,
  numberThat,
  oneOf,
  positive,
  section,
  withDefault,
} from './codec.ts'

const betas = guard(
  'two numbers in [0, 1), such as [0.9, 0.999]',
  (u): u is readonly [number, number] => Array.isArray(u) && u.length === 2 && u.every(fraction.is),
)

export const optimizer = section({
  /** `adam` adds weight decay to the gradient, `adamw` to the step. */
  type: withDefault(oneOf('adam', 'adamw'), 'adam'),
  betas: withDefault(betas, [0.9, 0.999]),
  eps: withDefault(
    numberThat('a number greater than 0', (n) => n > 0),
    1e-8,
  ),
  weight_decay: withDefault(atLeastZero, 0),
})

export const learningRateScheduler = section({
  /** After warm-up; null and constant are the same. */
  decay: withDefault(nullable(oneOf('linear', 'cosine', 'constant')), null),
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
