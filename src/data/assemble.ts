/** The step all formats share: named columns and records become a checked table. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { sanitizeColumn, type Cell, type Table } from './cell.ts'

/** One record: its cells under the names the file uses, and its 1-based line if it has one. */
export interface RawRow {
  readonly line?: number
  readonly cells: ReadonlyMap<string, Cell>
}

const shown = 10

/** The first ten problems and, when there are more, how many. */
export const firstIssues = (found: readonly [Issue, ...Issue[]], file: string): Issues => {
  const more = found.length - shown
  const [first, ...rest] = found
  return more > 0
    ? [first, ...rest.slice(0, shown - 1), issue(`${more} more problems of this file`, { file })]
    : found
}

const clash = (columns: ReadonlyArray<string>): Issue | undefined => {
  const seen = new Map<string, string>()
  for (const column of columns) {
    const name = sanitizeColumn(column)
    const other = seen.get(name)
    if (other !== undefined)
      return issue(
        other === column
          ? `two columns are called "${column}"`
          : `the columns "${other}" and "${column}" are both called "${name}" once ( ) { } . : " ' [ ] become _`,
        { hint: 'rename one of them' },
      )
    seen.set(name, column)
  }
  return undefined
}

/** Columns get their sanitised names, cells a record lacks are null. Left: a repeated name, no column, no row. */
export const assemble = (
  file: string,
  columns: ReadonlyArray<string>,
  records: ReadonlyArray<RawRow>,
): E.Either<Issues, Table> => {
  const repeated = clash(columns)
  if (repeated) return E.left(one({ ...repeated, file }))
  if (columns.length === 0) return E.left(one(issue('the file has no columns', { file })))
  if (records.length === 0)
    return E.left(
      one(issue('the file has no rows', { file, expected: 'at least one row of data' })),
    )
  const names = columns.map((column) => [column, sanitizeColumn(column)] as const)
  return E.right({
    file,
    columns: names.map(([, name]) => name),
    rows: records.map(({ cells }) =>
      Object.fromEntries(names.map(([column, name]) => [name, cells.get(column) ?? null])),
    ),
    lines: records.flatMap(({ line }) => (line === undefined ? [] : [line])),
  })
}
