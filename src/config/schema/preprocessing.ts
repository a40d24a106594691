/** `preprocessing`: which rows are used, how they are split, how long a sequence may be. */
import * as t from 'io-ts'

import { columnName } from '../template.ts'
import {
  type Codec,
  completed,
  guard,
  nullable,
  oneOf,
  positive,
  section,
  share,
  text,
  withDefault,
} from './codec.ts'

type Shares = readonly [number, number, number]

const shares = guard(
  'three numbers of at least 0: training, validation, test',
  (u): u is Shares =>
    Array.isArray(u) && u.length === 3 && u.every((p) => t.number.is(p) && p >= 0),
)

/** Its words are also those of the others, for the sake of the error. */
const randomType: Codec<'random'> = Object.assign(
  guard('random, stratify or fixed', (u): u is 'random' => u === 'random'),
  { words: ['random', 'stratify', 'fixed'] },
)

const random = section({
  type: withDefault(randomType, 'random'),
  /** Shares of training, validation and test; their sum is 1. */
  probabilities: withDefault(shares, [0.7, 0.1, 0.2]),
})

const fixedKeys = section({
  type: oneOf('fixed'),
  /** Holds 0 for training, 1 for validation, 2 for test. */
  column: withDefault(text, 'split'),
})
const fixed = completed(fixedKeys, (s) => ({ ...s, column: columnName(s.column) }))

const stratifyKeys = section({
  type: oneOf('stratify'),
  /** Every split holds its values in the same shares. */
  column: text,
  probabilities: withDefault(shares, [0.7, 0.1, 0.2]),
})
const stratify = completed(stratifyKeys, (s) => ({ ...s, column: columnName(s.column) }))

export type Split = t.TypeOf<typeof random> | t.TypeOf<typeof fixed> | t.TypeOf<typeof stratify>

const isOf = (type: string, u: unknown): boolean => t.UnknownRecord.is(u) && u['type'] === type

/** With a type that is neither, the remaining keys are still looked at, as those of `random`. */
const split = Object.assign(
  new t.Type<Split, unknown, unknown>(
    random.name,
    (u): u is Split => random.is(u) || fixed.is(u) || stratify.is(u),
    (u, c) =>
      isOf('fixed', u)
        ? fixed.validate(u, c)
        : isOf('stratify', u)
          ? stratify.validate(u, c)
          : random.validate(u, c),
    t.identity,
  ),
  { props: { ...random.props, ...fixedKeys.props } },
)

export const preprocessing = section({
  /** Share of all rows that is used. */
  sample_ratio: withDefault(share, 1),
  /** Number of rows that is used; null: all. */
  sample_size: withDefault(nullable(positive), null),
  /** Tokens of prompt and target together; null: the model's context. */
  global_max_sequence_length: withDefault(nullable(positive), null),
  split,
  /** Rows of the rarer class are drawn, with repetition, until they are this share of the other's; null: as they are. */
  oversample_minority: withDefault(nullable(share), null),
  /** Of the commoner class so many rows stay that the rarer one is this share of them; null: all. */
  undersample_majority: withDefault(nullable(share), null),
})
