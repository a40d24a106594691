/** What the typing rules and attribute codecs of several op families share. */
import * as t from 'io-ts'
import { equals, fail, isFloat, ok, show, type TensorType, type Typing } from './type.ts'

export type None = Record<never, never>
export const none: t.Type<None> = t.strict({})

/** Typing of ops over operands of one float type. */
export const same =
  (name: string) =>
  (_: unknown, args: ReadonlyArray<TensorType>): Typing => {
    const [a, ...rest] = args
    if (a === undefined || !isFloat(a.dtype))
      return fail(`${name} needs floats, got ${args.map(show).join(' and ')}`)
    const odd = rest.find((b) => !equals(a, b))
    return odd === undefined ? ok(a) : fail(`${name} operands differ: ${show(a)} and ${show(odd)}`)
  }

/** A boolean attribute that is false when it is not written. */
export const flag: t.Type<boolean> = new t.Type(
  'flag',
  t.boolean.is,
  (u, c) => (u === undefined ? t.success(false) : t.boolean.validate(u, c)),
  t.identity,
)

/** Targets with this value are not scored. */
export const IGNORED = -100
