/** A table of named cells, and where each of its rows stands in the file. */
import { issue, type Issue } from '../issue.ts'
import { nearest } from '../config/nearest.ts'

/** null is a missing cell. CSV cells are text as written; JSON cells keep their type. */
export type Cell = string | number | boolean | null

export type Row = Readonly<Record<string, Cell>>

export interface Table {
  readonly file: string
  /** In file order, sanitised, without repeats. */
  readonly columns: ReadonlyArray<string>
  /** Every row has every column. */
  readonly rows: ReadonlyArray<Row>
  /** The 1-based line that row i starts on; empty where a row has no line (JSON by columns). */
  readonly lines: ReadonlyArray<number>
}

/** Where row `row` stands, for an Issue. */
export const locate = (table: Table, row: number): Pick<Issue, 'file' | 'line'> => {
  const line = table.lines[row]
  return line === undefined ? { file: table.file } : { file: table.file, line }
}

/** `line 12`, or `row 12` where rows have no line; both count from 1. */
export const rowName = (table: Table, row: number): string => {
  const line = table.lines[row]
  return line === undefined ? `row ${row + 1}` : `line ${line}`
}

/** Missing, or text without a character. */
export const isEmpty = (cell: Cell | undefined): boolean =>
  cell === null || cell === undefined || cell === ''

/** A column's name as Ludwig knows it: each of `( ) { } . : " ' [ ]` becomes `_`. */
export const sanitizeColumn = (name: string): string => name.replace(/[(){}.:"'[\]]/g, '_')

/** "The data has no column …", with the columns it has and the nearest. */
export const unknownColumn = (name: string, columns: ReadonlyArray<string>): Issue => {
  const close = nearest(name, columns)
  return issue(`the data has no column "${name}"`, {
    expected: `one of ${columns.map((column) => `"${column}"`).join(', ')}`,
    ...(close === undefined ? {} : { hint: `did you mean "${close}"?` }),
  })
}
