/** How a config names modules of a model: lists, regular expressions, layers. */
import { regex } from '../../../passes/targets.ts'
import { guard, numberThat, type Codec } from './codec.ts'

export const positiveNumber = numberThat('a number greater than 0', (n) => n > 0)

const filled = (u: unknown): u is string => typeof u === 'string' && u.trim() !== ''

export const names = (what: string): Codec<ReadonlyArray<string>> =>
  guard(
    `a list of ${what}`,
    (u): u is ReadonlyArray<string> => Array.isArray(u) && u.length > 0 && u.every(filled),
  )

/** A word is no pattern: no module's whole path is one. */
export const pathPattern = guard(
  'a regular expression for whole paths',
  (u): u is string => filled(u) && /[^\w.]/.test(u) && regex(u) !== undefined,
)

export const indices = guard(
  'a list of layers by index',
  (u): u is ReadonlyArray<number> =>
    Array.isArray(u) && u.length > 0 && u.every((i) => Number.isSafeInteger(i) && i >= 0),
)

/** Values by regular expressions for the ends of paths. */
export const patternOf = (value: Codec<number>): Codec<Readonly<Record<string, number>>> =>
  guard(
    `a map from the ends of module paths (regular expressions) to ${value.name}`,
    (u): u is Readonly<Record<string, number>> =>
      typeof u === 'object' &&
      u !== null &&
      !Array.isArray(u) &&
      Object.entries(u).every(([k, v]) => regex(k) !== undefined && value.is(v)),
  )
