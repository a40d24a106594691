/** Makes the embeddings that a config's prompts need and that nobody has made yet. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend } from '../../backends/backend.ts'
import type { Config } from '../config/schema/config.ts'
import type { Table } from '../data/cell.ts'
import { datasetPath } from '../hub/dataset-path.ts'
import { one, type Issues } from '../issue.ts'
import { findBase } from '../models/base.ts'
import { readRows } from '../plan/rows.ts'
import { fileOf, readEmbeddings, writeEmbeddings } from './cache.ts'
import { embed } from './embed.ts'
import { encoderOf, type Encoder } from './encoder.ts'
import { inputTexts, poolOf, type Examples } from './pool.ts'

interface Wanted {
  readonly file: string
  readonly texts: ReadonlyArray<string>
}

interface Work {
  readonly encoder: Encoder
  readonly wanted: ReadonlyArray<Wanted>
}

const wantedOf = (c: Config, e: Encoder, table: Table): E.Either<Issues, Wanted> => {
  const texts = inputTexts(c, table)
  return pipe(
    fileOf(e, texts, table.file),
    E.bimap(one, (file) => ({ file, texts })),
  )
}

/** What is missing; nothing where no rows are retrieved by meaning, and where there is no data or no model to do so. */
const workOf = (
  c: Config,
  folder: string,
  examples: Examples | null,
): E.Either<Issues, Work | null> => {
  const name = c.compiler.dataset
  if (c.prompt.retrieval.type !== 'semantic' || name === null) return E.right(null)
  return pipe(
    E.Do,
    E.bind('base', () => pipe(findBase(c.base_model, folder), E.mapLeft(one))),
    E.chain(({ base }) =>
      base.folder === null
        ? E.right(null)
        : pipe(
            encoderOf(c, base, folder),
            E.bindTo('encoder'),
            E.bind('file', () => pipe(datasetPath(name, folder), E.mapLeft(one))),
            E.bind('asked', ({ file }) => readRows(c, file)),
            E.bind('pool', ({ asked }) => poolOf(c, asked, examples)),
            E.bind('wanted', ({ encoder, asked, pool }) =>
              pipe(
                [...new Set([pool.table, asked.table])],
                E.traverseArray((table) => wantedOf(c, encoder, table)),
              ),
            ),
            E.map(({ encoder, wanted }) => ({
              encoder,
              wanted: wanted.filter(
                ({ file, texts }) =>
                  readEmbeddings(file, texts.length, encoder.base.spec.hidden) === null,
              ),
            })),
          ),
    ),
  )
}

/** Embeds what is missing with the backend that `engine` gives, which is asked for only then. */
export const makeEmbeddings = (
  c: Config,
  folder: string,
  examples: Examples | null,
  engine: () => Promise<E.Either<Issues, Backend>>,
  onProgress: (done: number, of: number) => void,
): TE.TaskEither<Issues, void> =>
  pipe(
    TE.fromEither(workOf(c, folder, examples)),
    TE.chain((work) => {
      if (work === null || work.wanted.length === 0) return TE.right(undefined)
      return pipe(
        engine,
        TE.chain((backend) =>
          pipe(
            work.wanted,
            TE.traverseSeqArray(({ file, texts }) =>
              pipe(
                embed(backend, work.encoder, texts, (done) => onProgress(done, texts.length)),
                TE.chain((made) => pipe(writeEmbeddings(file, made), TE.mapLeft(one))),
              ),
            ),
          ),
        ),
        TE.map(() => undefined),
      )
    }),
  )
