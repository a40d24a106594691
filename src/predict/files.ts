/** Predictions in a folder, under the names that Ludwig's `predict` and `evaluate` give their files. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import type { Column } from './column.ts'
import { csv, csvOfColumn, jsonl } from './lines.ts'
import { parquet } from './parquet.ts'
import type { Predicted } from './predict.ts'

export const formats = ['parquet', 'csv', 'jsonl'] as const
export type Format = (typeof formats)[number]

const encoded: { readonly [F in Format]: (columns: ReadonlyArray<Column>) => Uint8Array } = {
  parquet,
  csv: (columns) => Buffer.from(csv(columns)),
  jsonl: (columns) => Buffer.from(jsonl(columns)),
}

/** `out`: the output feature's name. Its probability is the sum of its tokens' logarithms, as Ludwig has it. */
export const columnsOf = (out: string, { rows }: Predicted): ReadonlyArray<Column> => [
  { name: `${out}_predictions`, kind: 'texts', values: rows.map((r) => r.tokens) },
  { name: `${out}_response`, kind: 'text', values: rows.map((r) => r.answer.text) },
  {
    name: `${out}_probabilities`,
    kind: 'numbers',
    values: rows.map((r) => r.answer.logProbs.map(Math.exp)),
  },
  {
    name: `${out}_probability`,
    kind: 'number',
    values: rows.map((r) => r.answer.logProbs.reduce((sum, p) => sum + p, 0)),
  },
]

/** What the base answered, beside what the tuned model does; the columns that Ludwig names stay what they are. */
export const baseColumns = (out: string, base: Predicted): ReadonlyArray<Column> =>
  columnsOf(out, base)
    .filter((c) => /_(response|probability)$/.test(c.name))
    .map((c) => ({ ...c, name: `${c.name}_base` }))

/** Metrics as Ludwig files them: by feature, and the loss of all features together. */
export const statistics = (out: string, metrics: Predicted['metrics'], more: object = {}): object =>
  Object.keys(metrics).length === 0
    ? {}
    : {
        [out]: { ...metrics, ...more },
        ...(metrics['loss'] === undefined ? {} : { combined: { loss: metrics['loss'] } }),
      }

interface Contents {
  readonly name: string
  readonly bytes: Uint8Array
}

/** Statistics of another kind, and the file they go into. */
export interface Named {
  readonly name: string
  readonly stats: object
}

const contents = (
  columns: ReadonlyArray<Column>,
  stats: object,
  format: Format,
  others: ReadonlyArray<Named>,
): ReadonlyArray<Contents> => [
  { name: `predictions.${format}`, bytes: encoded[format](columns) },
  ...columns.map((c) => ({
    name: `${c.name.replace(/[/\\\0]/g, '_')}.csv`,
    bytes: Buffer.from(csvOfColumn(c)),
  })),
  ...[{ name: 'test_statistics.json', stats }, ...others]
    .filter((n) => Object.keys(n.stats).length > 0)
    .map((n) => ({ name: n.name, bytes: Buffer.from(`${JSON.stringify(n.stats, null, 2)}\n`) })),
]

/** Writes them, each whole or not at all, and `stats` where there are any; their names. */
export const writePredictions = (
  folder: string,
  columns: ReadonlyArray<Column>,
  stats: object,
  format: Format,
  others: ReadonlyArray<Named> = [],
): TE.TaskEither<Issue, ReadonlyArray<string>> => {
  const files = contents(columns, stats, format, others)
  return pipe(
    attempt('make the folder', folder, () => mkdir(folder, { recursive: true })),
    TE.chain(() =>
      pipe(
        files,
        TE.traverseSeqArray(({ name, bytes }) => atomicWrite(path.join(folder, name), bytes)),
      ),
    ),
    TE.map(() => files.map((f) => f.name)),
  )
}
