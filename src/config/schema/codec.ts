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

/** A list of at least one element. */
export const listOf = <A>(
  element: Codec<A>,
  what: string,
): Codec<readonly [A, ...A[]]> & Wrapping =>
  Object.assign(
    wrap<readonly [A, ...A[]]>(
      element,
      `a list of at least one ${what}`,
      (u): u is readonly [A, ...A[]] => Array.isArray(u) && u.length > 0 && u.every(element.is),
      (u, c) => {
        if (!Array.isArray(u) || u.length === 0) return t.failure(u, c)
        const all = u.map((x: unknown, i) =>
          element.validate(x, t.appendContext(c, String(i), element, x)),
        )
        const errors = all.flatMap((x) => (E.isLeft(x) ? x.left : []))
        const [first, ...rest] = all.flatMap((x) => (E.isRight(x) ? [x.right] : []))
        return errors.length > 0 || first === undefined
          ? t.failures(errors)
          : t.success([first, ...rest])
      },
    ),
    { isList: true },
  )

/** A section whose keys depend on one of them. */
export interface Variants {
  readonly variants: Readonly<Record<string, object>>
}

/** One of several sections, told apart by the word under `key`. */
export const tagged = <A>(
  key: string,
  variants: Readonly<Record<string, Pick<Codec<A>, 'is' | 'validate'>>>,
): Codec<A> & Variants => {
  const words = oneOf(...Object.keys(variants))
  const wordOf = (u: unknown): unknown => (t.UnknownRecord.is(u) ? u[key] : undefined)
  const of = (u: unknown): Pick<Codec<A>, 'is' | 'validate'> | undefined =>
    words.is(wordOf(u)) ? variants[String(wordOf(u))] : undefined
  return Object.assign(
    codec<A>(
      'a map of keys',
      (u): u is A => of(u)?.is(u) === true,
      (u, c) => {
        const chosen = of(u)
        if (chosen !== undefined) return chosen.validate(u, c)
        return t.UnknownRecord.is(u)
          ? t.failure(u[key], t.appendContext(c, key, words, u[key]))
          : t.failure(u, c)
      },
    ),
    { variants },
  )
}

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

/** The sections that the word under a key chooses among; undefined for anything else. */
export const variantsOf = (of: object): Variants['variants'] | undefined => {
  if ('variants' in of) return (of as Variants).variants
  return 'inner' in of ? variantsOf((of as Wrapping).inner) : undefined
}

/** A key that several sections have is a section of all its keys, or a word of all its words. */
const together = (all: ReadonlyArray<object>): t.Props => {
  const merged: Record<string, t.Mixed> = {}
  for (const [key, inner] of all.flatMap((one) => Object.entries(propsOf(one) ?? {}))) {
    const before = merged[key]
    const both = before === undefined ? [inner] : [before, inner]
    const [props, words] = [both.every((x) => propsOf(x) !== undefined), both.flatMap(wordsOf)]
    merged[key] = props
      ? t.type(together(both))
      : words.length > 0
        ? oneOf(...new Set(words))
        : inner
  }
  return merged
}

/** The keys of a section, or of those in a list; undefined for anything else. */
export const propsOf = (of: object): t.Props | undefined => {
  if ('props' in of) return (of as { readonly props: t.Props }).props
  const variants = variantsOf(of)
  if (variants !== undefined) return together(Object.values(variants))
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
