/** Python's format mini-language for floats, as far as a template may use it: `{price:.2f}`, `{x:>+10,.1f}`. */
import * as E from 'fp-ts/lib/Either.js'
import { fixed } from './python.ts'

export interface FloatSpec {
  readonly fill: string
  readonly align: '<' | '>' | '^' | '='
  readonly sign: '+' | '-' | ' '
  readonly width: number
  readonly grouping: '' | ',' | '_'
  readonly precision: number
}

const pattern = /^(?:([^])?([<>^=]))?([+\- ])?(0)?(\d{1,4})?([,_])?(?:\.(\d{1,3}))?f$/u

const asAlign = (text: string | undefined): FloatSpec['align'] | undefined =>
  text === '<' || text === '>' || text === '^' || text === '=' ? text : undefined

/** Left: the spec is not one of `[[fill]align][sign][0][width][,|_][.precision]f`. */
export const parseFloatSpec = (spec: string): E.Either<string, FloatSpec> => {
  const found = pattern.exec(spec)
  if (!found) return E.left(`the format \`${spec}\` is not supported`)
  const [, fill, align, sign, zero, width, grouping, precision] = found
  return E.right({
    fill: fill ?? (zero ? '0' : ' '),
    align: asAlign(align) ?? (zero ? '=' : '>'),
    sign: sign === '+' || sign === ' ' ? sign : '-',
    width: Number(width ?? 0),
    grouping: grouping === ',' || grouping === '_' ? grouping : '',
    precision: Number(precision ?? 6),
  })
}

const group = (whole: string, separator: string): string =>
  whole.replace(/\B(?=(?:\d{3})+$)/g, separator)

/** Zeros before a grouped number take separators too, and never start with one. */
const zeroFilled = (whole: string, width: number, separator: string): string => {
  let padded = whole
  while (group(padded, separator).length < width) padded = `0${padded}`
  return group(padded, separator)
}

const digitsOf = (x: number, spec: FloatSpec, room: number): string => {
  if (Number.isNaN(x)) return 'nan'
  if (!Number.isFinite(x)) return 'inf'
  const [whole = '', decimals] = fixed(x, spec.precision).split('.')
  const tail = decimals === undefined ? '' : `.${decimals}`
  const zeros = spec.align === '=' && spec.fill === '0' && spec.grouping !== ''
  return zeros
    ? zeroFilled(whole, room - tail.length, spec.grouping) + tail
    : group(whole, spec.grouping) + tail
}

/** `format(x, spec)`. */
export const formatFloat = (x: number, spec: FloatSpec): string => {
  const negative = x < 0 || Object.is(x, -0)
  const sign = negative ? '-' : spec.sign === '-' ? '' : spec.sign
  const digits = digitsOf(x, spec, spec.width - sign.length)
  const missing = Math.max(0, spec.width - sign.length - digits.length)
  const before = spec.align === '^' ? Math.floor(missing / 2) : spec.align === '<' ? 0 : missing
  const left = spec.fill.repeat(before)
  const right = spec.fill.repeat(missing - before)
  return spec.align === '=' ? sign + left + digits : left + sign + digits + right
}
