/** Columns as text with a line a row: CSV by RFC 4180, and JSON Lines. */
import { rowAt, rowsOf, type CellValue, type Column } from './column.ts'

const quoted = (text: string): string =>
  /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text

const inCell = (value: CellValue): string =>
  quoted(typeof value === 'object' ? JSON.stringify(value) : String(value))

const line = (cells: ReadonlyArray<string>): string => `${cells.join(',')}\n`

const indices = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** With a header; a list is its JSON text in one cell. */
export const csv = (columns: ReadonlyArray<Column>): string =>
  line(columns.map((c) => quoted(c.name))) +
  indices(rowsOf(columns))
    .map((row) => line(columns.map((c) => inCell(c.values[row]!))))
    .join('')

/** One column as Ludwig writes it: no header, the values of a list in cells of their own. */
export const csvOfColumn = ({ values }: Column): string =>
  values
    .map((v: CellValue) => line(typeof v === 'object' ? [...v].map(inCell) : [inCell(v)]))
    .join('')

export const jsonl = (columns: ReadonlyArray<Column>): string =>
  indices(rowsOf(columns))
    .map((row) => `${JSON.stringify(rowAt(columns, row))}\n`)
    .join('')
