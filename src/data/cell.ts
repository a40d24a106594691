/** A table of named cells, and where each of its rows stands in the file. */
import { nearest } from '../config/nearest.ts'
import { columnName } from '../config/template.ts'
import { issue, type Issue } from '../issue.ts'

/** null is a missing cell. CSV cells are text as written; JSON cells keep their type: bigint is Python's int, number its float. */
export type Cell = string | number | bigint | boolean | null

export type Row = Readonly<Record<string, Cell>>

/** Something that reading a cell decided and that the file does not show. */
export interface Remark {
  readonly column: string
  /** Index of the row. */
  readonly row: number
  /** `missing`: a word that counts as no value. `repeated`: a key that an object inside the cell has twice. */
  readonly kind: 'missing' | 'repeated'
  /** The word, or the key in quotes. */
  readonly text: string
}

export interface Table {
  readonly file: string
  /** In file order, under their `columnName`, without repeats. */
  readonly columns: ReadonlyArray<string>
  /** Every row has every column. */
  readonly rows: ReadonlyArray<Row>
  /** The 1-based line that row i starts on; empty where a row has no line (JSON by columns). */
  readonly lines: ReadonlyArray<number>
  /** What stands between the cells, where it is not what the file's name promises. */
  readonly separator: string | null
  /** Of the columns that are used. */
  readonly remarks: ReadonlyArray<Remark>
}

/** The columns that matter: what is wrong in any other refuses nothing. */
export type Uses = ReadonlySet<string> | 'all'

export const isUsed = (uses: Uses, column: string): boolean =>
  uses === 'all' || uses.has(columnName(column))

/** Where row `row` stands, for an Issue. */
export const locate = (table: Table, row: number): Pick<Issue, 'file' | 'line'> => {
  const line = table.lines[row]
  return line === undefined ? { file: table.file } : { file: table.file, line }
}

/** `line 12`; `row 3 on line 12` beside others there; `row 3` where rows have no line. Both count from 1. */
export const rowName = ({ lines }: Pick<Table, 'lines'>, row: number): string => {
  const line = lines[row]
  if (line === undefined) return `row ${row + 1}`
  const alone = lines[row - 1] !== line && lines[row + 1] !== line
  return alone ? `line ${line}` : `row ${row + 1} on line ${line}`
}

/** Missing, or text without a character. */
export const isEmpty = (cell: Cell | undefined): boolean =>
  cell === null || cell === undefined || cell === ''

/** "The data has no column …", with the columns it has and the nearest. */
export const unknownColumn = (
  name: string,
  { columns, separator }: Pick<Table, 'columns' | 'separator'>,
): Issue => {
  const close = nearest(name, columns)
  const read = separator === null ? '' : ` (read with ${JSON.stringify(separator)} between cells)`
  return issue(`the data has no column "${name}"`, {
    expected: `one of ${columns.map((column) => `"${column}"`).join(', ')}${read}`,
    ...(close === undefined ? {} : { hint: `did you mean "${close}"?` }),
  })
}
