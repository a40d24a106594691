/** Readers of a request's fields: a value of the right kind, the field's absence, or OpenAI's words for what is wrong with it. */
import * as E from 'fp-ts/lib/Either.js'
import { invalid, type ApiError } from './errors.ts'

export type Fields = Readonly<Record<string, unknown>>

/** A value read from a field; null where the field is absent or null. */
export type Reader<A> = (fields: Fields, name: string) => E.Either<ApiError, A | null>

const kindOf = (value: unknown): string => {
  if (Array.isArray(value)) return 'an array'
  if (typeof value === 'string') return 'a string'
  if (typeof value === 'boolean') return 'a boolean'
  if (typeof value === 'number') return Number.isInteger(value) ? 'an integer' : 'a decimal'
  return 'an object'
}

export const wrongType = (name: string, expected: string, value: unknown): ApiError =>
  invalid(
    `Invalid type for '${name}': expected ${expected}, but got ${kindOf(value)} instead.`,
    name,
    'invalid_type',
  )

const reader =
  <A>(expected: string, is: (value: unknown) => value is A): Reader<A> =>
  (fields, name) => {
    const value = fields[name] ?? null
    if (value === null) return E.right(null)
    return is(value) ? E.right(value) : E.left(wrongType(name, expected, value))
  }

export const flag: Reader<boolean> = reader('a boolean', (v) => typeof v === 'boolean')
export const text: Reader<string> = reader('a string', (v) => typeof v === 'string')
export const record: Reader<Fields> = reader(
  'an object',
  (v): v is Fields => typeof v === 'object' && v !== null && !Array.isArray(v),
)

const bounded =
  (kind: 'integer' | 'decimal', least: number, most: number): Reader<number> =>
  (fields, name) => {
    const value = fields[name] ?? null
    if (value === null) return E.right(null)
    const is = typeof value === 'number' && (kind === 'decimal' || Number.isInteger(value))
    if (!is) return E.left(wrongType(name, kind === 'integer' ? 'an integer' : 'a decimal', value))
    const beyond = value < least ? 'min' : value > most ? 'max' : null
    if (beyond === null) return E.right(value)
    const [words, sign, bound] =
      beyond === 'min' ? ['below minimum', '>=', least] : ['above maximum', '<=', most]
    return E.left(
      invalid(
        `Invalid '${name}': ${kind} ${words} value. Expected a value ${sign} ${bound}, but got ${value} instead.`,
        name,
        `${kind}_${beyond === 'min' ? 'below_min' : 'above_max'}_value`,
      ),
    )
  }

export const integer = (least: number, most: number): Reader<number> =>
  bounded('integer', least, most)
export const decimal = (least: number, most: number): Reader<number> =>
  bounded('decimal', least, most)

/** One text or up to `most`. */
export const texts =
  (most: number): Reader<ReadonlyArray<string>> =>
  (fields, name) => {
    const value = fields[name] ?? null
    if (value === null) return E.right(null)
    if (typeof value === 'string') return E.right([value])
    if (!Array.isArray(value) || !value.every((v) => typeof v === 'string'))
      return E.left(wrongType(name, 'a string or an array of strings', value))
    return value.length <= most
      ? E.right(value)
      : E.left(
          invalid(
            `Invalid '${name}': array too long. Expected an array with maximum length ${most}, but got an array with length ${value.length} instead.`,
            name,
            'array_above_max_length',
          ),
        )
  }

export const missing = (name: string): ApiError =>
  invalid(`Missing required parameter: '${name}'.`, name, 'missing_required_parameter')

/** Left: a field that nobody reads, or one that asks for what this server does not do. */
export const known = (
  fields: Fields,
  read: ReadonlySet<string>,
  /** Fields of the real API by the values that ask for nothing. */
  neutral: Readonly<Record<string, ReadonlyArray<string>>>,
): E.Either<ApiError, void> => {
  for (const [name, value] of Object.entries(fields)) {
    if (read.has(name) || value === null) continue
    const idle = neutral[name]
    if (idle === undefined)
      return E.left(invalid(`Unknown parameter: '${name}'.`, name, 'unknown_parameter'))
    if (!idle.includes(JSON.stringify(value)))
      return E.left(
        invalid(
          `Unsupported parameter: '${name}' is not supported with this model.`,
          name,
          'unsupported_parameter',
        ),
      )
  }
  return E.right(undefined)
}
