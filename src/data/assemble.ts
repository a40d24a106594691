/** The step all formats share: named columns and records become a checked table. */
import * as E from 'fp-ts/lib/Either.js'
import { columnName } from '../config/template.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { isUsed, type Cell, type Remark, type Table, type Uses } from './cell.ts'

/** One record: its cells under the names the file uses, and its 1-based line if it has one. */
export interface RawRow {
  readonly line?: number
  readonly cells: ReadonlyMap<string, Cell>
}

/** Columns by their `columnName`; of several with one name the first. Left: two of them, and they are used. */
const distinct = (
  columns: ReadonlyArray<string>,
  uses: Uses,
): E.Either<Issue, ReadonlyMap<string, string>> => {
  const seen = new Map<string, string>()
  for (const column of columns) {
    const name = columnName(column)
    const other = seen.get(name)
    if (other === undefined) seen.set(name, column)
    else if (isUsed(uses, name))
      return E.left(
        issue(
          other === column
            ? `two columns are called "${column}"`
            : `the columns "${other}" and "${column}" are both called "${name}" once ( ) { } . : " ' [ ] become _`,
          { hint: 'rename one of them' },
        ),
      )
  }
  return E.right(seen)
}

/** What a format adds to its columns and records. */
export interface Extra {
  readonly uses: Uses
  readonly separator?: string
  /** The line that names the columns, where one does. */
  readonly header?: number
  /** Under the names the file uses. */
  readonly remarks?: ReadonlyArray<Remark>
}

/** Columns get their `columnName`, cells a record lacks are null. Left: a used name twice, no column, no row. */
export const assemble = (
  file: string,
  columns: ReadonlyArray<string>,
  records: ReadonlyArray<RawRow>,
  { uses, separator, header, remarks = [] }: Extra,
): E.Either<Issues, Table> => {
  const named = distinct(columns, uses)
  if (E.isLeft(named))
    return E.left(one({ ...named.left, file, ...(header === undefined ? {} : { line: header }) }))
  if (columns.length === 0) return E.left(one(issue('the file has no columns', { file })))
  if (records.length === 0)
    return E.left(
      one(issue('the file has no rows', { file, expected: 'at least one row of data' })),
    )
  const names = [...named.right]
  return E.right({
    file,
    columns: names.map(([name]) => name),
    rows: records.map(({ cells }) =>
      Object.fromEntries(names.map(([name, column]) => [name, cells.get(column) ?? null])),
    ),
    lines: records.flatMap(({ line }) => (line === undefined ? [] : [line])),
    separator: separator ?? null,
    remarks: remarks
      .filter(({ column }) => isUsed(uses, column))
      .map((r) => ({ ...r, column: columnName(r.column) })),
  })
}
