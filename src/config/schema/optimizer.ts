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

/** Ludwig's names; `_8bit` and `paged_` say how the state is kept. */
const types = [
  'adam',
  'adamw',
  'sgd',
  'adagrad',
  'lion',
  'adafactor',
  'muon',
  'adam_8bit',
  'adamw_8bit',
  'adagrad_8bit',
  'lion_8bit',
] as const

const open = section({
  /** `adam` adds weight decay to the gradient, `adamw` to the step. */
  type: withDefault(oneOf(...types), 'adam'),
  betas: withDefault(nullable(betas), null),
  eps: withDefault(nullable(numberThat('a number greater than 0', (n) => n > 0)), null),
  weight_decay: withDefault(atLeastZero, 0),
  momentum: withDefault(nullable(fraction), null),
  dampening: withDefault(nullable(numberThat('a number in [0, 1]', (n) => n >= 0 && n <= 1)), null),
  nesterov: withDefault(nullable(truth), null),
  initial_accumulator_value: withDefault(nullable(atLeastZero), null),
  lr_decay: withDefault(nullable(atLeastZero), null),
  /** Adafactor: steps relative to the size of the tensor, and to the step's number. */
  scale_parameter: withDefault(nullable(truth), null),
  relative_step: withDefault(nullable(truth), null),
  warmup_init: withDefault(nullable(truth), null),
})

export type Optimizer = t.TypeOf<typeof open>
export type OptimizerType = Optimizer['type']

/** The optimizer of a type, however its state is kept. */
export const plainType = (type: OptimizerType): keyof typeof plainDefaults =>
  type.replace(/^paged_|_8bit$/g, '') as keyof typeof plainDefaults

/** `adam_8bit` and the like are bitsandbytes', whose Adam decays weights as AdamW does. */
export const isEightBit = (type: OptimizerType): boolean => type.endsWith('_8bit')

const adam = { betas: [0.9, 0.999], eps: 1e-8 } as const

/** What Ludwig takes where a file says nothing; a key that a type does not have here, it does not know. */
const plainDefaults = {
  adam,
  adamw: adam,
  sgd: { momentum: 0, dampening: 0, nesterov: false },
  adagrad: { initial_accumulator_value: 0, lr_decay: 0, eps: 1e-10 },
  lion: { betas: [0.9, 0.999] },
  adafactor: { scale_parameter: true, relative_step: true, warmup_init: false },
  muon: { momentum: 0.95, nesterov: true },
} as const

export const defaultsOf = (type: OptimizerType): Partial<Optimizer> =>
  plainDefaults[plainType(type)]

/** Every optimizer decays weights, and has a type. */
export const ownKeys: ReadonlyArray<string> = [
  ...new Set(Object.values(plainDefaults).flatMap((d) => Object.keys(d))),
]

/** An optimizer that has a key. */
export const ownerOf = (key: string): string =>
  Object.entries(plainDefaults).find(([, d]) => key in d)?.[0] ?? 'adam'

const given = (o: Optimizer): Partial<Optimizer> =>
  Object.fromEntries(Object.entries(o).filter(([, value]) => value !== null))

export const optimizer = completed<Optimizer, Optimizer>(open, (o) => ({
  ...o,
  ...defaultsOf(o.type),
  ...given(o),
}))
