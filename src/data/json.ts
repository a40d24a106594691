/** JSON as data sets use it: an array of row objects, or an object of columns. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issues } from '../issue.ts'
import { assemble, firstIssues } from './assemble.ts'
import type { Table } from './cell.ts'
import { isObject, parseValue, readSlices, toRecord, type Slice } from './json-rows.ts'

const lineBreaks = (text: string): number => text.match(/\r\n|\n|\r/g)?.length ?? 0

/** Where the outermost array opens, has a comma, and closes (no last cut when it never does). */
const outermostCuts = (
  text: string,
): { readonly cuts: ReadonlyArray<number>; readonly closed: boolean } => {
  const cuts: Array<number> = []
  let depth = 0
  for (const { 0: mark, index } of text.matchAll(/"(?:[^"\\]|\\[^])*"?|[[\]{},]/g)) {
    if (mark === ']' || mark === '}') depth--
    if (depth === 0 || (depth === 1 && mark === ',')) cuts.push(index)
    if (mark === '[' || mark === '{') depth++
    else if (depth === 0) return { cuts, closed: true }
  }
  return { cuts, closed: false }
}

/** What stands between the cuts, each with the line of its first character that is not blank. */
const slicesBetween = (text: string, cuts: ReadonlyArray<number>): ReadonlyArray<Slice> => {
  let line = 1
  let counted = 0
  return cuts.slice(1).map((end, i) => {
    const piece = text.slice((cuts[i] ?? 0) + 1, end)
    const first = end - piece.trimStart().length
    line += lineBreaks(text.slice(counted, first))
    counted = first
    return { text: piece, line }
  })
}

const parseRows = (text: string, file: string): E.Either<Issues, Table> => {
  const { cuts, closed } = outermostCuts(text)
  const rest = text.slice((cuts.at(-1) ?? 0) + 1)
  if (!closed)
    return E.left(one(issue('the array of rows is never closed', { file, expected: '`]`' })))
  if (rest.trim() !== '') {
    const line = lineBreaks(text.trimEnd()) + 1
    return E.left(one(issue('there is text after the array of rows', { file, line })))
  }
  const slices = slicesBetween(text, cuts)
  return readSlices(slices.length === 1 && slices[0]?.text.trim() === '' ? [] : slices, file)
}

type Column = readonly [name: string, cells: ReadonlyMap<string, unknown>]

/** `{"a": {"0": x, "1": y}}` as pandas writes it, or `{"a": [x, y]}`; index keys are row labels. */
const parseColumns = (
  value: Readonly<Record<string, unknown>>,
  file: string,
): E.Either<Issues, Table> => {
  const columns: Array<Column> = []
  for (const [name, cells] of Object.entries(value)) {
    if (typeof cells !== 'object' || cells === null)
      return E.left(
        one(
          issue(`"${name}" holds a single value where a column of cells was expected`, {
            file,
            expected: 'an array of row objects, or an object of columns',
          }),
        ),
      )
    columns.push([name, new Map(Object.entries(cells))])
  }
  const labels = [...new Set(columns.flatMap(([, cells]) => [...cells.keys()]))]
  const read = labels.map((label) =>
    toRecord(
      Object.fromEntries(columns.map(([name, cells]) => [name, cells.get(label) ?? null])),
      undefined,
    ),
  )
  const bad = read.flatMap((r, i) =>
    E.isLeft(r) ? [issue(`row ${i + 1} ${r.left}`, { file })] : [],
  )
  const [first, ...rest] = bad
  return first
    ? E.left(firstIssues([first, ...rest], file))
    : assemble(
        file,
        columns.map(([name]) => name),
        read.flatMap((r) => (E.isRight(r) ? [r.right] : [])),
      )
}

const parseObject = (text: string, file: string): E.Either<Issues, Table> => {
  const whole = parseValue(text)
  if (E.isRight(whole) && isObject(whole.right)) return parseColumns(whole.right, file)
  const firstLine = text.trimStart().split(/\r|\n/, 1)[0] ?? ''
  const oneObjectPerLine = E.isRight(parseValue(firstLine))
  return E.left(
    one(
      issue('the file is not valid JSON', {
        file,
        expected: 'an array of row objects, or an object of columns',
        ...(oneObjectPerLine ? { hint: 'it has one object per line: name it .jsonl' } : {}),
      }),
    ),
  )
}

/** An array of row objects, or an object of columns. Left: every row that does not parse, with its line. */
export const parseJson = (text: string, file: string): E.Either<Issues, Table> => {
  const start = text.trimStart()[0]
  if (start === '[') return parseRows(text, file)
  if (start === '{') return parseObject(text, file)
  return E.left(
    one(
      issue('the file holds no JSON array or object', {
        file,
        expected: 'an array of row objects, or an object of columns',
      }),
    ),
  )
}
