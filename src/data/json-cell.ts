/** One JSON value as a cell: numbers as Python reads them, nested values as the text they are written in. */
import * as E from 'fp-ts/lib/Either.js'
import type { Cell } from './cell.ts'
import { stringEnd } from './json-scan.ts'

export interface JsonCell {
  readonly cell: Cell
  /** A key that stands twice in one object of a nested value. */
  readonly repeated?: string
}

/** Python's and pandas' readers take the three last ones, too. */
const literal =
  /(?:-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null|NaN|-?Infinity)(?![\w.+-])/y

/** Where a scalar that begins at `at` ends; undefined: it is none. */
const scalarEnd = (text: string, at: number): number | undefined => {
  if (text[at] !== '"') {
    literal.lastIndex = at
    return literal.test(text) ? literal.lastIndex : undefined
  }
  const end = stringEnd(text, at)
  return end !== undefined && E.isRight(textOf(text.slice(at, end))) ? end : undefined
}

const textOf = (quoted: string): E.Either<unknown, string> =>
  E.tryCatch(
    () => JSON.parse(quoted) as string,
    (e) => e,
  )

interface Open {
  readonly close: ']' | '}'
  readonly keys: Set<string>
}

const colon = /[ \t\r\n]*:/y

/** What may come next in a nested value. */
type Next = 'value' | 'value or close' | 'key' | 'key or close' | 'comma or close' | 'end'

/** The text without blanks and with plainly written strings; numbers and the order of keys stay. Undefined: it is not JSON. */
const compact = (
  text: string,
): { readonly text: string; readonly repeated?: string } | undefined => {
  const open: Array<Open> = []
  const parts: Array<string> = []
  let repeated: string | undefined
  let next: Next = 'value'
  for (let at = 0; at < text.length;) {
    const char = text[at]!
    if (' \t\r\n'.includes(char)) at++
    else if (char === '{' || char === '[') {
      if (!next.startsWith('value')) return undefined
      open.push({ close: char === '{' ? '}' : ']', keys: new Set() })
      parts.push(char)
      next = char === '{' ? 'key or close' : 'value or close'
      at++
    } else if (char === '}' || char === ']') {
      if (!next.endsWith('close') || open.pop()?.close !== char) return undefined
      parts.push(char)
      next = open.length === 0 ? 'end' : 'comma or close'
      at++
    } else if (char === ',') {
      if (next !== 'comma or close') return undefined
      parts.push(char)
      next = open.at(-1)!.close === '}' ? 'key' : 'value'
      at++
    } else {
      const end = scalarEnd(text, at)
      const isKey: boolean = next.startsWith('key')
      if (end === undefined || (!isKey && !next.startsWith('value')) || (isKey && char !== '"'))
        return undefined
      const scalar = text.slice(at, end)
      const plain = char === '"' ? JSON.stringify(JSON.parse(scalar)) : scalar
      parts.push(plain)
      at = end
      if (isKey) {
        colon.lastIndex = end
        if (!colon.test(text)) return undefined
        const { keys } = open.at(-1)!
        if (keys.has(plain)) repeated ??= plain
        keys.add(plain)
        parts.push(':')
        at = colon.lastIndex
      }
      next = isKey ? 'value' : open.length === 0 ? 'end' : 'comma or close'
    }
  }
  return next === 'end' ? { text: parts.join(''), ...(repeated && { repeated }) } : undefined
}

const numberOf = (text: string): E.Either<string, Cell> => {
  if (text === 'NaN') return E.right(null)
  if (/^-?\d+$/.test(text)) return E.right(BigInt(text))
  const read = Number(text)
  return Number.isFinite(read) || text.endsWith('Infinity')
    ? E.right(read)
    : E.left('is a number beyond those of 64 bits; write it in quotes')
}

const named: ReadonlyMap<string, Cell> = new Map([
  ['true', true],
  ['false', false],
  ['null', null],
])

/** Left: what is wrong with the value, to stand after its name. */
export const jsonCell = (text: string): E.Either<string, JsonCell> => {
  if (text === '') return E.left('is missing')
  if (text.startsWith('{') || text.startsWith('[')) {
    const nested = compact(text)
    return nested === undefined
      ? E.left('is not valid JSON')
      : E.right({ cell: nested.text, ...(nested.repeated && { repeated: nested.repeated }) })
  }
  if (scalarEnd(text, 0) !== text.length) return E.left('is not valid JSON')
  if (text.startsWith('"')) return E.right({ cell: JSON.parse(text) as string })
  const known = named.get(text)
  return E.map((cell: Cell): JsonCell => ({ cell }))(
    known === undefined ? numberOf(text) : E.right(known),
  )
}

const isNumber = (cell: Cell): cell is number | bigint =>
  typeof cell === 'number' || typeof cell === 'bigint'

const fitsInt64 = (x: number): boolean => Number.isInteger(x) && Math.abs(x) < 2 ** 63

/**
 * A column of numbers as pandas keeps it: whole numbers exactly when all are whole and none is missing, else floats.
 * A whole number that no float holds stays what it is, where pandas rounds it. Other columns keep each cell's own kind.
 */
export const numbersOf = (cells: ReadonlyArray<Cell>): ReadonlyArray<Cell> => {
  const present = cells.filter((cell) => cell !== null)
  if (!present.every(isNumber)) return cells
  const whole =
    present.length === cells.length && present.every((x) => typeof x === 'bigint' || fitsInt64(x))
  return cells.map((x) => {
    if (whole) return typeof x === 'number' ? BigInt(x) : x
    return typeof x === 'bigint' && Number.isSafeInteger(Number(x)) ? Number(x) : x
  })
}
