/** JSON as data sets use it: an array of row objects, or an object of columns. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issues } from '../issue.ts'
import type { Table, Uses } from './cell.ts'
import type { Complaint } from './complaints.ts'
import { readRows, tableOfRecords } from './json-rows.ts'
import {
  elements,
  linesOf,
  members,
  skipBlanks,
  type Fault,
  type Items,
  type Member,
} from './json-scan.ts'

const expected = 'an array of row objects, or an object of columns'

const problem = (
  text: string,
  file: string,
  what: string,
  at: number,
  hint?: string,
): E.Either<Issues, never> =>
  E.left(
    one(
      issue(what, {
        file,
        line: linesOf(text)(at),
        expected,
        ...(hint === undefined ? {} : { hint }),
      }),
    ),
  )

/** A file whose every line is an object of its own is JSON Lines under another name. */
const linesHint = (text: string): string | undefined => {
  const start = skipBlanks(text, 0)
  const line = text.slice(start, text.slice(start).search(/[\r\n]|$/) + start)
  const first = line.startsWith('{') ? members(line, 0) : undefined
  return first && E.isRight(first) ? 'it has one object per line: name it .jsonl' : undefined
}

/** What stands in the outermost brackets, behind which nothing may follow. */
const outermost = <A>(
  text: string,
  file: string,
  what: string,
  read: E.Either<Fault, Items<A>>,
): E.Either<Issues, ReadonlyArray<A>> => {
  if (E.isLeft(read)) return problem(text, file, `${what} ${read.left.what}`, read.left.at)
  const rest = skipBlanks(text, read.right.end)
  return rest === text.length
    ? E.right(read.right.items)
    : problem(text, file, `there is text after ${what}`, rest, linesHint(text))
}

const parseRows = (
  text: string,
  start: number,
  file: string,
  uses: Uses,
): E.Either<Issues, Table> => {
  const spans = outermost(text, file, 'the array of rows', elements(text, start))
  return E.isLeft(spans) ? spans : readRows(text, spans.right, file, uses)
}

/** The cells of a column by their row labels: keys of an object, or places in a list. */
const cellsOf = (text: string, at: number): E.Either<string, ReadonlyArray<Member>> => {
  const opening = text[at]
  if (opening !== '{' && opening !== '[')
    return E.left('is a single value where a column of cells was expected')
  const read =
    opening === '{'
      ? members(text, at)
      : E.map(({ items, end }: Items<Member['value']>): Items<Member> => ({
          items: items.map((value, i) => ({ key: String(i), value })),
          end,
        }))(elements(text, at))
  return E.isLeft(read) ? E.left(read.left.what) : E.right(read.right.items)
}

/** `{"a": {"0": x, "1": y}}` as pandas writes it, or `{"a": [x, y]}`; index keys are row labels. */
const parseColumns = (
  text: string,
  start: number,
  file: string,
  uses: Uses,
): E.Either<Issues, Table> => {
  const columns = outermost(text, file, 'the object of columns', members(text, start))
  if (E.isLeft(columns)) return columns
  const line = linesOf(text)
  const rows = new Map<string, Array<Member>>()
  const wrong: Array<Complaint> = []
  for (const { key: column, value } of columns.right) {
    const cells = cellsOf(text.slice(0, value.to), value.from)
    if (E.isLeft(cells)) {
      const at = line(value.from)
      wrong.push({ column, what: cells.left, line: at, name: `line ${at}` })
      continue
    }
    for (const { key: label, value: cell } of cells.right) {
      const row = rows.get(label) ?? []
      if (row.length === 0) rows.set(label, row)
      row.push({ key: column, value: cell })
    }
  }
  const records = [...rows.values()].map((all, i) => ({ name: `row ${i + 1}`, members: all }))
  return tableOfRecords(text, file, uses, records, wrong)
}

/** An array of row objects, or an object of columns. Left: what is wrong in columns that are used, with lines. */
export const parseJson = (text: string, file: string, uses: Uses): E.Either<Issues, Table> => {
  const start = skipBlanks(text, 0)
  if (text[start] === '[') return parseRows(text, start, file, uses)
  if (text[start] === '{') return parseColumns(text, start, file, uses)
  return problem(text, file, 'the file holds no JSON array or object', start)
}
