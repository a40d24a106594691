/** `trainer.optimizer`: each type has keys of its own, with defaults of its own. */
import type * as t from 'io-ts'

import {
  atLeastZero,
  completed,
  fraction,
  guard,
  nullable,
  numberThat,
  oneOf,
  section,
  truth,
  withDefault,
} from './codec.ts'

const betas = guard(
  'two numbers in [0, 1), such as [0.9, 0.999]',
  (u): u is readonly [number, number] => Array.isArray(u) && u.length === 2 && u.every(fraction.is),
)

const open = section({
  /** `adam` adds weight decay to the gradient, `adamw` to the step. */
  type: withDefault(oneOf('adam', 'adamw', 'sgd', 'adagrad', 'lion'), 'adam'),
  betas: withDefault(nullable(betas), null),
  eps: withDefault(nullable(numberThat('a number greater than 0', (n) => n > 0)), null),
  weight_decay: withDefault(atLeastZero, 0),
  momentum: withDefault(nullable(fraction), null),
  dampening: withDefault(nullable(numberThat('a number in [0, 1]', (n) => n >= 0 && n <= 1)), null),
  nesterov: withDefault(nullable(truth), null),
  initial_accumulator_value: withDefault(nullable(atLeastZero), null),
  lr_decay: withDefault(nullable(atLeastZero), null),
})

export type Optimizer = t.TypeOf<typeof open>
export type OptimizerType = Optimizer['type']

const adam = { betas: [0.9, 0.999], eps: 1e-8 } as const

/** What Ludwig takes where a file says nothing; a key that a type does not have here, it does not know. */
export const ownDefaults: { readonly [T in OptimizerType]: Partial<Optimizer> } = {
  adam,
  adamw: adam,
  sgd: { momentum: 0, dampening: 0, nesterov: false },
  adagrad: { initial_accumulator_value: 0, lr_decay: 0, eps: 1e-10 },
  lion: { betas: [0.9, 0.999] },
}

const given = (o: Optimizer): Partial<Optimizer> =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== null))

export const optimizer = completed<Optimizer, Optimizer>(open, (o) => ({
  ...o,
  ...ownDefaults[o.type],
  ...given(o),
}))
