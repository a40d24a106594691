/** Keys of the learning rate and the optimizer that another key puts out of use. */
import type { Config } from './schema/config.ts'

/** A key, when it has no effect, and why. */
export type Idle = readonly [key: string, idle: (config: Config) => boolean, why: string]

type Scheduler = Config['trainer']['learning_rate_scheduler']

const keys = (
  names: string,
  idle: (s: Scheduler, trainer: Config['trainer']) => boolean,
  why: string,
): ReadonlyArray<Idle> =>
  names
    .split(' ')
    .map((name) => [
      `trainer.learning_rate_scheduler.${name}`,
      ({ trainer }) => idle(trainer.learning_rate_scheduler, trainer),
      why,
    ])

const ofDecay = (decay: Scheduler['decay'], names: string): ReadonlyArray<Idle> =>
  keys(names, (s) => s.decay !== decay, `the decay is not ${decay}`)

const plateau =
  'reduce_on_plateau_patience reduce_on_plateau_rate reduce_eval_metric reduce_eval_split'

export const idleTraining: ReadonlyArray<Idle> = [
  ...ofDecay('cosine', 't_0 t_mult eta_min'),
  ...ofDecay('exponential', 'decay_rate decay_steps staircase'),
  ...ofDecay('inverse_sqrt', 'inverse_sqrt_warmup_steps'),
  ...ofDecay('polynomial', 'polynomial_power polynomial_end_lr'),
  ...ofDecay('wsd', 'wsd_warmup_fraction wsd_stable_fraction wsd_decay_fraction'),
  ...ofDecay('one_cycle', 'max_lr pct_start div_factor final_div_factor'),
  ...keys(
    'warmup_fraction warmup_evaluations',
    (s) => s.decay === 'wsd' || s.decay === 'one_cycle',
    'the decay has a warm-up of its own',
  ),
  ...keys(plateau, (s) => s.reduce_on_plateau === 0, 'reduce_on_plateau is 0'),
  ...keys(
    `reduce_on_plateau ${plateau}`,
    (s, trainer) => s.reduce_on_plateau > 0 && trainer.skip_all_evaluation,
    'skip_all_evaluation is true',
  ),
  [
    'trainer.learning_rate',
    ({ trainer: { optimizer: o } }) => o.type === 'adafactor' && o.relative_step === true,
    'adafactor chooses its own steps; set `relative_step: false` for it',
  ],
  [
    'trainer.optimizer.dampening',
    ({ trainer: { optimizer: o } }) => o.type === 'sgd' && o.momentum === 0,
    'there is no momentum',
  ],
]
