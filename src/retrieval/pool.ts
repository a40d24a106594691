/** The training rows that prompts may show, and the texts that are compared to choose among them. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import { isEmpty, type Table } from '../data/cell.ts'
import { str } from '../data/python.ts'
import { datasetPath } from '../hub/dataset-path.ts'
import { issue, one, type Issues } from '../issue.ts'
import { readRows, splitOf, type SplitTable } from '../plan/rows.ts'

export interface Pool {
  readonly table: Table
  /** Training rows with a question and an answer. */
  readonly rows: ReadonlyArray<number>
}

/** Where training rows are, if not in the data that is asked. */
export interface Examples {
  readonly config: Config
  readonly folder: string
}

const whole = (c: Config, { table, split }: SplitTable): Pool => {
  const columns = [c.input_features[0].column, c.output_features[0].column]
  return {
    table,
    rows: split.train.filter((row) => columns.every((name) => !isEmpty(table.rows[row]![name]))),
  }
}

const enough =
  (k: number) =>
  (pool: Pool): E.Either<Issues, Pool> =>
    pool.rows.length > k
      ? E.right(pool)
      : E.left(
          one(
            issue(`${k} rows are to be retrieved, and ${pool.rows.length} can be`, {
              path: 'prompt.retrieval.k',
              expected: 'training rows with input and answer, more than k',
            }),
          ),
        )

const nowhere = one(
  issue('the config names no data whose training rows could be retrieved', {
    path: 'compiler.dataset',
    hint: 'name the file of the examples as compiler.dataset; the rows to answer are those of --dataset',
  }),
)

/** Training rows of the examples' own data, or of the data that is asked. Left: too few, or a file that cannot be read. */
export const poolOf = (
  c: Config,
  asked: SplitTable,
  examples: Examples | null,
): E.Either<Issues, Pool> => {
  const k = c.prompt.retrieval.k
  if (examples === null) return enough(k)(whole(c, asked))
  const { config, folder } = examples
  const name = config.compiler.dataset
  if (name === null) return E.left(nowhere)
  return pipe(
    datasetPath(name, folder),
    E.mapLeft(one),
    E.chain((file) =>
      path.resolve(file) === path.resolve(asked.table.file)
        ? pipe(
            splitOf(config, asked.table),
            E.map((split) => ({ table: asked.table, split })),
          )
        : readRows(config, file),
    ),
    E.map((rows) => whole(config, rows)),
    E.chain(enough(k)),
  )
}

/** What is embedded of every row: its input, and nothing where that is missing. */
export const inputTexts = (c: Config, table: Table): ReadonlyArray<string> =>
  table.rows.map((row) => {
    const cell = row[c.input_features[0].column] ?? null
    return isEmpty(cell) ? '' : str(cell)
  })
