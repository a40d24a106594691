/** What `{__context__}` shows with each row: the retrieved rows as Python writes a list of dicts. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import type { Table } from '../data/cell.ts'
import { repr } from '../data/python.ts'
import { one, type Issues } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { SplitTable } from '../plan/rows.ts'
import { fileOf, readEmbeddings, unmade } from './cache.ts'
import { encoderOf, type Encoder } from './encoder.ts'
import { directions, nearestRows, randomRows, type Embeddings } from './neighbours.ts'
import { inputTexts, poolOf, type Examples, type Pool } from './pool.ts'

/** Rows of the pool for a row that is asked; the row itself is never among them. */
type Find = (row: number) => ReadonlyArray<number>

const itself =
  (asked: Table, pool: Pool) =>
  (row: number) =>
  (candidate: number): boolean =>
    pool.table === asked && candidate === row

const byChance = (c: Config, asked: Table, pool: Pool): Find => {
  const { k } = c.prompt.retrieval
  const own = itself(asked, pool)
  return (row) => randomRows(pool.rows, k, c.random_seed, row, own(row))
}

/** Of every row of a table. Left: nobody has made them. */
const madeFor = (e: Encoder, c: Config, table: Table): E.Either<Issues, Embeddings> => {
  const texts = inputTexts(c, table)
  return pipe(
    fileOf(e, texts, table.file),
    E.map((file) => readEmbeddings(file, texts.length, e.base.spec.hidden)),
    E.chain(E.fromNullable(unmade(table.file))),
    E.bimap(one, directions),
  )
}

const byMeaning = (c: Config, e: Encoder, asked: Table, pool: Pool): E.Either<Issues, Find> =>
  pipe(
    E.Do,
    E.bind('all', () => madeFor(e, c, pool.table)),
    E.bind('queries', ({ all }) => (pool.table === asked ? E.right(all) : madeFor(e, c, asked))),
    E.map(({ all, queries }): Find => {
      const { k } = c.prompt.retrieval
      const own = itself(asked, pool)
      return (row) => nearestRows(all, pool.rows, queries, row, k, own(row))
    }),
  )

const shown = (c: Config, { table }: Pool, rows: ReadonlyArray<number>): string => {
  const columns = [c.input_features[0].column, c.output_features[0].column]
  const dict = (row: number): string =>
    columns.map((name) => `${repr(name)}: ${repr(table.rows[row]![name] ?? null)}`).join(', ')
  return `[${rows.map((row) => `{${dict(row)}}`).join(', ')}]`
}

export type Contexts = (asked: SplitTable) => E.Either<Issues, (row: number) => string>

/** Null: no rows are retrieved. Left: no pool, no encoder, or embeddings that nobody has made. */
export const contextsFor = (
  c: Config,
  base: Base,
  home: string,
  examples: Examples | null,
): Contexts | null =>
  c.prompt.retrieval.type === null
    ? null
    : (asked) =>
        pipe(
          poolOf(c, asked, examples),
          E.chain((pool) =>
            pipe(
              c.prompt.retrieval.type === 'random'
                ? E.right(byChance(c, asked.table, pool))
                : pipe(
                    encoderOf(c, base, home),
                    E.chain((e) => byMeaning(c, e, asked.table, pool)),
                  ),
              E.map((find) => (row: number) => shown(c, pool, find(row))),
            ),
          ),
        )
