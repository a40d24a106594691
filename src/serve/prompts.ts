/** Requests to prompts, by the rules that made the prompts of training. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Row, Table } from '../data/cell.ts'
import { promptColumns, renderPrompts } from '../data/prompt.ts'
import type { Issues } from '../issue.ts'
import { promptSpec } from '../plan/rows.ts'
import type { Served } from './model.ts'

/** The columns that a prompt is made of. */
export const columnsOf = (m: Pick<Served, 'config'>): ReadonlyArray<string> => [
  ...new Set(promptColumns(promptSpec(m.config))),
]

export const tableOf = (rows: ReadonlyArray<Row>): Table => ({
  file: 'the request',
  columns: Object.keys(rows[0] ?? {}),
  rows,
  lines: [],
  separator: null,
  remarks: [],
})

/** A prompt for each row; every row has the columns of the first. Left: a column that is missing, a cell that does not fit. */
export const promptsOf = (
  m: Served,
  rows: ReadonlyArray<Row>,
): E.Either<Issues, ReadonlyArray<ReadonlyArray<number>>> =>
  pipe(
    renderPrompts(promptSpec(m.config), tableOf(rows)),
    E.map((prompts) => prompts.map((p) => m.tokenizer.encode(p ?? '<UNK>', { addBos: true }))),
  )
