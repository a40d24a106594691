/** io-ts codecs whose names finish the sentence "expected …"; wrappers keep hold of what they wrap. */
import * as E from 'fp-ts/lib/Either.js'
import * as t from 'io-ts'

import { isWithin, within, type Bound } from '../bounds.ts'

export type Codec<A> = t.Type<A, unknown, unknown>

/** Lets `keysOf` and `wordsOf` see through defaults, null and lists. */
export interface Wrapping {
  readonly inner: object
}

const codec = <A>(name: string, is: t.Is<A>, validate: t.Validate<unknown, A>): Codec<A> =>
  new t.Type(name, is, validate, t.identity)

const wrap = <A>(
  inner: object,
  name: string,
  is: t.Is<A>,
  validate: t.Validate<unknown, A>,
): Codec<A> & Wrapping => Object.assign(codec(name, is, validate), { inner })

export const guard = <A>(name: string, is: t.Is<A>): Codec<A> =>
  codec(name, is, (u, c) => (is(u) ? t.success(u) : t.failure(u, c)))

export const numberThat = (name: string, holds: (n: number) => boolean): Codec<number> =>
  guard(name, (u): u is number => typeof u === 'number' && Number.isFinite(u) && holds(u))

/** Whole and exact: at most 2^53 − 1. */
export const wholeFrom = (least: number): Codec<number> =>
  numberThat(`a whole number of at least ${least}`, (n) => Number.isSafeInteger(n) && n >= least)

/** Whole, from 1 to what a bound says. */
export const bounded = (bound: Bound): Codec<number> =>
  numberThat(within(bound), (n) => isWithin(bound, n))

export const positive = wholeFrom(1)
export const natural = wholeFrom(0)
export const atLeastZero = numberThat('a number of at least 0', (n) => n >= 0)
export const fraction = numberThat('a number in [0, 1)', (n) => n >= 0 && n < 1)
export const share = numberThat('a number in (0, 1]', (n) => n > 0 && n <= 1)
export const truth: Codec<boolean> = guard('true or false', t.boolean.is)

const isText = (u: unknown): u is string => typeof u === 'string' && u.trim() !== ''
export const text: Codec<string> = guard('non-empty text', isText)

const inWords = (words: ReadonlyArray<string | number>): string =>
  words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} or ${words.at(-1)}`

export const oneOf = <const W extends ReadonlyArray<string | number>>(
  ...words: W
): Codec<W[number]> & { readonly words: W } =>
  Object.assign(
    guard(inWords(words), (u): u is W[number] => words.some((w) => w === u)),
    { words },
  )

/** Tries both in the same place, so that a failure is one error that names both. */
export const either = <A, B>(a: Codec<A>, b: Codec<B>): Codec<A | B> & Wrapping =>
  wrap(
    a,
    `${a.name}, or ${b.name}`,
    (u): u is A | B => a.is(u) || b.is(u),
    (u, c) => {
      const [first, second] = [a.validate(u, c), b.validate(u, c)]
      if (E.isRight(first)) return first
      return E.isRight(second) ? second : t.failure(u, c)
    },
  )

/** Null itself, or else whatever `inner` says of the value. */
export const nullable = <A>(inner: Codec<A>): Codec<A | null> & Wrapping =>
  wrap(
    inner,
    `${inner.name}, or null`,
    (u): u is A | null => u === null || inner.is(u),
    (u, c) => (u === null ? t.success(null) : inner.validate(u, c)),
  )

export const orAuto = (inner: Codec<number>): Codec<number | 'auto'> => either(oneOf('auto'), inner)

/** What a key means when the file does not mention it. */
export const withDefault = <A>(inner: Codec<A>, value: A): Codec<A> & Wrapping =>
  wrap(inner, inner.name, inner.is, (u, c) =>
    u === undefined ? t.success(value) : inner.validate(u, c),
  )

/** A section that the file has to hold. */
export const required = <A>(inner: Codec<A>): Codec<A> & Wrapping =>
  wrap(inner, inner.name, inner.is, (u, c) =>
    u === undefined || u === null ? t.failure(u, c) : inner.validate(u, c),
  )

/** A list of exactly one element. */
export const only = <A>(element: Codec<A>, what: string): Codec<readonly [A]> & Wrapping =>
  Object.assign(
    wrap<readonly [A]>(
      element,
      `a list of exactly one ${what}`,
      (u): u is readonly [A] => Array.isArray(u) && u.length === 1 && element.is(u[0]),
      (u, c) => {
        if (!Array.isArray(u) || u.length !== 1) return t.failure(u, c)
        const first = element.validate(u[0], t.appendContext(c, '0', element, u[0]))
        return E.isRight(first) ? t.success([first.right]) : first
      },
    ),
    { isList: true },
  )

/** Decodes, then completes: `complete` fills what was left open and changes nothing the second time. */
export const completed = <A, B extends A>(
  inner: Codec<A>,
  complete: (a: A) => B,
): Codec<B> & Wrapping =>
  wrap(
    inner,
    inner.name,
    (u): u is B => inner.is(u) && JSON.stringify(complete(u)) === JSON.stringify(u),
    (u, c) => E.map(complete)(inner.validate(u, c)),
  )

/** `A` with some of its nullable keys filled. */
export type Filled<A, K extends keyof A> = A & { readonly [Key in K]: NonNullable<A[Key]> }

/** A map of these keys and no other; absent or null, it takes every default. */
export const section = <P extends t.Props>(
  props: P,
): Codec<{ readonly [K in keyof P]: t.TypeOf<P[K]> }> & { readonly props: P } => {
  const strict = t.strict(props)
  return Object.assign(
    codec('a map of keys', strict.is, (u, c) => strict.validate(u ?? {}, c)),
    { props },
  )
}

/** Whether the value is a list of sections. */
export const isListOf = (of: object): boolean =>
  'isList' in of || ('inner' in of && isListOf((of as Wrapping).inner))

/** The keys of a section, or of those in a list; undefined for anything else. */
export const propsOf = (of: object): t.Props | undefined => {
  if ('props' in of) return (of as { readonly props: t.Props }).props
  return 'inner' in of ? propsOf((of as Wrapping).inner) : undefined
}

/** Dotted keys of all that lies in a section, those of sections in it among them. */
export const leavesBelow = (path: string, of: object): ReadonlyArray<string> => {
  const props = propsOf(of)
  return props === undefined
    ? [path]
    : Object.entries(props).flatMap(([key, inner]) => leavesBelow(`${path}.${key}`, inner))
}

/** The words of `oneOf`; empty for anything else. */
export const wordsOf = (of: object): ReadonlyArray<string> => {
  if ('words' in of) return (of as { readonly words: ReadonlyArray<unknown> }).words.map(String)
  return 'inner' in of ? wordsOf((of as Wrapping).inner) : []
}
