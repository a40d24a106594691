/** Checks of `trainer`: batches, checkpoints, the learning rate's course. */
import { problem, when, type Check } from './check.ts'

const arithmetic: Check = {
  reads: [
    'trainer.batch_size',
    'trainer.effective_batch_size',
    'trainer.gradient_accumulation_steps',
    'trainer.max_batch_size',
  ],
  find: ({ trainer }) => {
    const all = trainer.effective_batch_size
    if (all === 'auto') return []
    const parts = (['batch_size', 'gradient_accumulation_steps'] as const).flatMap((key) => {
      const part = trainer[key]
      return when(part !== 'auto' && all % part !== 0, () =>
        problem(
          'trainer.effective_batch_size',
          `effective_batch_size ${all} is not a multiple of ${key} ${part}`,
          `leave it out, or set ${key} to a divisor of ${all}`,
        ),
      )
    })
    const tooSmall = when(trainer.max_batch_size < all, () =>
      problem(
        'trainer.max_batch_size',
        `max_batch_size ${trainer.max_batch_size} is less than effective_batch_size ${all}`,
        'leave it out, or raise it',
      ),
    )
    return [...parts, ...tooSmall]
  },
}

const checkpoints: Check = {
  reads: ['trainer.steps_per_checkpoint', 'trainer.checkpoints_per_epoch'],
  find: ({ trainer }) =>
    when(trainer.steps_per_checkpoint > 0 && trainer.checkpoints_per_epoch > 0, () =>
      problem(
        'trainer.checkpoints_per_epoch',
        'steps_per_checkpoint and checkpoints_per_epoch both say when to evaluate',
        'keep one of them',
      ),
    ),
}

const floor: Check = {
  reads: ['trainer.learning_rate', 'trainer.learning_rate_scheduler.eta_min'],
  find: ({ trainer }) => {
    const least = trainer.learning_rate_scheduler.eta_min
    return when(least > trainer.learning_rate, () =>
      problem(
        'trainer.learning_rate_scheduler.eta_min',
        `eta_min ${least} is more than the learning rate ${trainer.learning_rate}`,
        'write `eta_min: 0`, or what the learning rate may fall to',
      ),
    )
  },
}

/** Sums of decimal fractions are off by their last bits. */
const near = (a: number, b: number): boolean => Math.abs(a - b) < 1e-9

const wsd: Check = {
  reads: [
    'trainer.learning_rate_scheduler.wsd_warmup_fraction',
    'trainer.learning_rate_scheduler.wsd_stable_fraction',
    'trainer.learning_rate_scheduler.wsd_decay_fraction',
  ],
  find: ({ trainer: { learning_rate_scheduler: s } }) => {
    const begun = s.wsd_warmup_fraction + s.wsd_stable_fraction
    const decay = s.wsd_decay_fraction
    return when(
      s.decay === 'wsd' && (decay === null ? begun > 1 + 1e-9 : !near(begun + decay, 1)),
      () =>
        problem(
          `trainer.learning_rate_scheduler.wsd_${decay === null ? 'stable' : 'decay'}_fraction`,
          `warm-up, plain and decay of wsd are ${[s.wsd_warmup_fraction, s.wsd_stable_fraction, ...(decay === null ? [] : [decay])].join(' + ')} of the steps, and not 1`,
          decay === null || begun > 1
            ? 'write `wsd_stable_fraction: 0.8`, and set `wsd_warmup_fraction: 0.1`, and leave out `wsd_decay_fraction`'
            : 'leave it out: the decay takes what is left',
        ),
    )
  },
}

const plateau: Check = {
  reads: ['trainer.learning_rate_scheduler', 'trainer.evaluate_training_set'],
  find: ({ trainer: { learning_rate_scheduler: s, ...t } }) =>
    when(
      s.reduce_on_plateau > 0 &&
        s.reduce_eval_split === 'training' &&
        s.reduce_eval_metric.endsWith('accuracy') &&
        !t.evaluate_training_set,
      () =>
        problem(
          'trainer.learning_rate_scheduler.reduce_eval_metric',
          `the ${s.reduce_eval_metric} of the training split is not measured`,
          'write `reduce_eval_split: validation`, or set `trainer.evaluate_training_set: true`',
        ),
    ),
}

export const trainingChecks: ReadonlyArray<Check> = [arithmetic, checkpoints, floor, wsd, plateau]
