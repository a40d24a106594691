/** JSON Lines: one row object per line. */
import type * as E from 'fp-ts/lib/Either.js'
import type { Issues } from '../issue.ts'
import type { Table, Uses } from './cell.ts'
import { readRows } from './json-rows.ts'

/** One JSON object per line; blank lines are passed over. Left: what is wrong in columns that are used, with lines. */
export const parseJsonLines = (text: string, file: string, uses: Uses): E.Either<Issues, Table> => {
  const spans = [...text.matchAll(/[^\r\n]+/g)].map(({ 0: line, index }) => ({
    from: index + line.length - line.trimStart().length,
    to: index + line.trimEnd().length,
  }))
  return readRows(
    text,
    spans.filter(({ from, to }) => from < to),
    file,
    uses,
  )
}
