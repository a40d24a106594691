/** One row of JSON: an object of column names and cells. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { issue, type Issue, type Issues } from '../issue.ts'
import { assemble, firstIssues, type RawRow } from './assemble.ts'
import type { Cell, Table } from './cell.ts'

/** A piece of the file that should hold one row. */
export interface Slice {
  readonly text: string
  readonly line: number
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const parseValue = (text: string): E.Either<string, unknown> =>
  E.tryCatch(
    () => JSON.parse(text) as unknown,
    () => 'is not valid JSON',
  )

/** Objects and arrays become their JSON text. Left: a number that no 64-bit float holds exactly as written. */
const toCell = (value: unknown): E.Either<string, Cell> => {
  if (typeof value === 'number')
    return Number.isInteger(value) && !Number.isSafeInteger(value)
      ? E.left('is a number beyond 2⁵³, which JSON readers round; write it in quotes')
      : E.right(value)
  return typeof value === 'string' || typeof value === 'boolean' || value === null
    ? E.right(value)
    : E.right(JSON.stringify(value))
}

/** Left: what is wrong, to stand after the row's name. */
export const toRecord = (value: unknown, line: number | undefined): E.Either<string, RawRow> => {
  if (!isObject(value)) return E.left('is not an object of column names and values')
  const cells = new Map<string, Cell>()
  for (const [column, inner] of Object.entries(value)) {
    const cell = toCell(inner)
    if (E.isLeft(cell)) return E.left(`holds a value of "${column}" that ${cell.left}`)
    cells.set(column, cell.right)
  }
  return E.right(line === undefined ? { cells } : { line, cells })
}

const columnsOf = (records: ReadonlyArray<RawRow>): ReadonlyArray<string> => [
  ...new Set(records.flatMap(({ cells }) => [...cells.keys()])),
]

/** A table with a row for each slice. Left: every bad slice with its line, the first ten in full. */
export const readSlices = (slices: ReadonlyArray<Slice>, file: string): E.Either<Issues, Table> => {
  const records: Array<RawRow> = []
  const bad: Array<Issue> = []
  for (const { text, line } of slices) {
    const read = pipe(
      parseValue(text),
      E.chain((value) => toRecord(value, line)),
    )
    if (E.isRight(read)) records.push(read.right)
    else bad.push(issue(`the row that starts on line ${line} ${read.left}`, { file, line }))
  }
  const [first, ...rest] = bad
  return first
    ? E.left(firstIssues([first, ...rest], file))
    : assemble(file, columnsOf(records), records)
}
