/** JSON Lines: one row object per line. */
import type * as E from 'fp-ts/lib/Either.js'
import type { Issues } from '../issue.ts'
import type { Table } from './cell.ts'
import { readSlices } from './json-rows.ts'

/** One JSON object per line; blank lines are passed over. Left: every bad line, the first ten in full. */
export const parseJsonLines = (text: string, file: string): E.Either<Issues, Table> =>
  readSlices(
    text
      .split(/\r\n|\n|\r/)
      .map((line, i) => ({ text: line, line: i + 1 }))
      .filter((slice) => slice.text.trim() !== ''),
    file,
  )
