/** What preference training reads beside prompt and answer: a worse answer, or whether the answer is a good one. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { isEmpty, rowName, unknownColumn, type Cell, type Row, type Table } from './cell.ts'
import { complaintIssues, type Complaint } from './complaints.ts'
import { str } from './python.ts'
import type { RowText } from './samples.ts'

export type Extra = Pick<RowText, 'rejected' | 'desirable'>
/** Of every row. */
export type Extras = ReadonlyArray<Extra>

const words: ReadonlyMap<string, boolean> = new Map([
  ...['true', 't', 'yes', 'y', '1', '1.0'].map((w) => [w, true] as const),
  ...['false', 'f', 'no', 'n', '0', '0.0'].map((w) => [w, false] as const),
])

const truthOf = (cell: Cell): boolean | undefined =>
  typeof cell === 'boolean' ? cell : words.get(str(cell).trim().toLowerCase())

/** Left: no such column. */
const there = (table: Table, column: string, key: string): E.Either<Issues, void> =>
  table.columns.includes(column)
    ? E.right(undefined)
    : E.left(
        one({
          ...unknownColumn(column, table),
          file: table.file,
          path: `trainer.${key}`,
        } satisfies Issue),
      )

export const rejectedOf = (table: Table, column: string): E.Either<Issues, Extras> =>
  E.map(() =>
    table.rows.map((row: Row): Extra => {
      const cell = row[column] ?? null
      return { rejected: isEmpty(cell) ? null : str(cell) }
    }),
  )(there(table, column, 'rejected_column'))

const complaintsOf = (table: Table, column: string): ReadonlyArray<Complaint> =>
  table.rows.flatMap((row, i) => {
    const cell = row[column] ?? null
    const line = table.lines[i]
    return truthOf(cell) !== undefined
      ? []
      : [
          {
            column,
            what: isEmpty(cell)
              ? 'says neither true nor false, for it is empty'
              : 'is neither true nor false',
            excerpt: isEmpty(cell) ? '' : str(cell),
            hint: 'write true for a good answer and false for a bad one',
            name: rowName(table, i),
            ...(line === undefined ? {} : { line }),
          },
        ]
  })

/** Left also: labels that say nothing. */
export const labelsOf = (table: Table, column: string): E.Either<Issues, Extras> =>
  E.chain((): E.Either<Issues, Extras> => {
    const wrong = complaintIssues(complaintsOf(table, column), 'all', table.file)
    return wrong === undefined
      ? E.right(table.rows.map((row): Extra => ({ desirable: truthOf(row[column] ?? null)! })))
      : E.left(wrong)
  })(there(table, column, 'label_column'))

/** Left: training rows of which all, or none, are good: nothing says how they differ. */
export const bothKinds = (
  desirable: ReadonlyArray<boolean>,
  column: string,
  file: string,
): E.Either<Issues, void> =>
  desirable.includes(true) && desirable.includes(false)
    ? E.right(undefined)
    : E.left(
        one(
          issue(
            `every training row has ${String(desirable[0] ?? true)} in "${column}": there is nothing to tell good answers from bad ones by`,
            { file, expected: 'rows of both kinds' },
          ),
        ),
      )
