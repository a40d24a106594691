/** Values as Python writes them: `str`, `float`, `json.dumps` and the `f` format, which templates rely on. */
import * as E from 'fp-ts/lib/Either.js'
import type { Cell } from './cell.ts'

/** `repr` of a float: the shortest digits that read back as x, an exponent below 1e-4 and from 1e16 on. */
export const floatRepr = (x: number): string => {
  if (Number.isNaN(x)) return 'nan'
  if (!Number.isFinite(x)) return x > 0 ? 'inf' : '-inf'
  if (Object.is(x, -0)) return '-0.0'
  const [digits = '', exponentText = '0'] = x.toExponential().split('e')
  const exponent = Number(exponentText)
  if (x === 0 || (exponent >= -4 && exponent < 16)) {
    const plain = String(x)
    return plain.includes('.') ? plain : `${plain}.0`
  }
  const sign = exponent < 0 ? '-' : '+'
  return `${digits}e${sign}${String(Math.abs(exponent)).padStart(2, '0')}`
}

/** `str` of a cell: an int plain, a float as `repr`, `True`/`False`; a missing cell is `nan`. */
export const str = (cell: Cell): string => {
  if (cell === null) return 'nan'
  if (typeof cell === 'boolean') return cell ? 'True' : 'False'
  if (typeof cell === 'string') return cell
  return typeof cell === 'bigint' ? String(cell) : floatRepr(cell)
}

const digits = String.raw`\d+(?:_\d+)*`
const decimal = new RegExp(
  `^[+-]?(?:${digits}(?:\\.(?:${digits})?)?|\\.${digits})(?:e[+-]?${digits})?$`,
  'i',
)
const special = /^([+-]?)(?:(inf(?:inity)?)|nan)$/i

/** `float(cell)`. Left: the text is no number to Python. */
export const float = (cell: Cell): E.Either<string, number> => {
  if (cell === null) return E.right(NaN)
  if (typeof cell !== 'string') return E.right(Number(cell))
  const text = cell.trim()
  if (decimal.test(text)) return E.right(Number(text.replace(/_/g, '')))
  const named = special.exec(text)
  if (!named) return E.left(`"${cell}" is not a number`)
  return E.right(named[2] ? (named[1] === '-' ? -Infinity : Infinity) : NaN)
}

/** |x| = mantissa · 2^exponent, exactly. */
const decompose = (x: number): readonly [mantissa: bigint, exponent: number] => {
  const bits = new DataView(new ArrayBuffer(8))
  bits.setFloat64(0, x)
  const raw = bits.getBigUint64(0)
  const biased = Number((raw >> 52n) & 0x7ffn)
  const fraction = raw & 0xfffffffffffffn
  return biased === 0 ? [fraction, -1074] : [fraction | (1n << 52n), biased - 1075]
}

/** |x| with `precision` decimals, rounded from its exact value, halves to even (`toFixed` rounds them up). */
export const fixed = (x: number, precision: number): string => {
  const [mantissa, exponent] = decompose(x)
  const scaled = mantissa * 10n ** BigInt(precision)
  const shift = BigInt(Math.max(0, -exponent))
  const whole = exponent > 0 ? scaled << BigInt(exponent) : scaled >> shift
  const rest = scaled - (whole << shift)
  const half = shift > 0n ? 1n << (shift - 1n) : 1n
  const up = exponent < 0 && (rest > half || (rest === half && (whole & 1n) === 1n))
  const text = String(up ? whole + 1n : whole).padStart(precision + 1, '0')
  const point = text.length - precision
  return precision === 0 ? text : `${text.slice(0, point)}.${text.slice(point)}`
}

const quoteEscapes: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
}

/** As `repr` writes a character that Python does not print. */
const hidden = (char: string): string => {
  const code = char.codePointAt(0)!
  const [letter, width] = code < 0x100 ? ['x', 2] : code < 0x10000 ? ['u', 4] : ['U', 8]
  return `\\${letter}${code.toString(16).padStart(Number(width), '0')}`
}

/** `repr` of a cell: text in single quotes, in double ones where it holds single ones alone. */
export const repr = (cell: Cell): string => {
  if (typeof cell !== 'string') return str(cell)
  const quote = cell.includes("'") && !cell.includes('"') ? '"' : "'"
  const body = cell
    .replace(/[\\\n\r\t]/g, (c) => quoteEscapes[c]!)
    .replaceAll(quote, `\\${quote}`)
    .replace(/(?! )[\p{C}\p{Z}]/gu, hidden)
  return `${quote}${body}${quote}`
}

const escapes: Readonly<Record<string, string>> = {
  '"': '\\"',
  '\\': '\\\\',
  '\n': '\\n',
  '\r': '\\r',
  '\t': '\\t',
  '\b': '\\b',
  '\f': '\\f',
}

const unicodeEscape = (unit: string): string =>
  `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`

/** `json.dumps(cell)`: ASCII only, everything else as `\uXXXX` per UTF-16 unit; a missing cell is `NaN`. */
export const jsonDumps = (cell: Cell): string => {
  if (cell === null) return 'NaN'
  if (typeof cell === 'boolean') return String(cell)
  if (typeof cell === 'bigint') return String(cell)
  if (typeof cell === 'number')
    return Math.abs(cell) === Infinity ? (cell > 0 ? 'Infinity' : '-Infinity') : str(cell)
  return `"${cell.replace(/["\\]|[^ -~]/g, (unit) => escapes[unit] ?? unicodeEscape(unit))}"`
}
