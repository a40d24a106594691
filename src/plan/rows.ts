/** The rows of a job's file as its config names them: columns that are used, and which rows go where. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import type { Table } from '../data/cell.ts'
import { promptColumns, type PromptSpec } from '../data/prompt.ts'
import { sampleRows, splitRows, type Split } from '../data/split.ts'
import { readTable } from '../data/table.ts'
import type { Issues } from '../issue.ts'

export const promptSpec = (c: Config): PromptSpec => ({
  inputColumn: c.input_features[0].column,
  retrieves: c.prompt.retrieval.type !== null,
  ...(c.prompt.template === null ? {} : { template: c.prompt.template }),
  ...(c.prompt.task === null ? {} : { task: c.prompt.task }),
})

/** The columns that prompts, answers and the split are made of. */
export const usedColumns = (c: Config): ReadonlySet<string> => {
  const { split } = c.preprocessing
  return new Set([
    ...promptColumns(promptSpec(c)),
    ...c.output_features.map((f) => f.column),
    ...[c.trainer.rejected_column, c.trainer.label_column].flatMap((x) => x ?? []),
    ...(split.type === 'random' ? [] : [split.column]),
  ])
}

export const splitOf = (c: Config, table: Table): E.Either<Issues, Split> => {
  const { sample_ratio: ratio, sample_size: size, split } = c.preprocessing
  return pipe(
    sampleRows(table.rows.length, size === null ? { ratio } : { size }, c.random_seed),
    E.chain((rows) => splitRows(table, rows, split, c.random_seed)),
  )
}

/** A file's rows, and their split. */
export interface SplitTable {
  readonly table: Table
  readonly split: Split
}

export const readRows = (c: Config, file: string): E.Either<Issues, SplitTable> =>
  pipe(
    readTable(path.resolve(file), { uses: usedColumns(c), naAsText: c.compiler.na_as_text }),
    E.bindTo('table'),
    E.bind('split', ({ table }) => splitOf(c, table)),
  )
