/** Rows as a report names them. */
import { rowName, type Table } from './cell.ts'

/** Some rows: how many, and the names of the first ten (`line 12`). */
export interface RowList {
  readonly count: number
  readonly first: ReadonlyArray<string>
}

/** How many rows or groups a list names in full. */
export const shown = 10

export type ListRows = (rows: ReadonlyArray<number>) => RowList

/** Sorted as in the file. */
export const listRows =
  (table: Table): ListRows =>
  (rows) => ({
    count: rows.length,
    first: rows
      .toSorted((a, b) => a - b)
      .slice(0, shown)
      .map((row) => rowName(table, row)),
  })
