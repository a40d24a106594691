/** Embeddings that a config's prompts need, made before a plan is. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Config } from '../config/index.ts'
import type { Issues } from '../issue.ts'
import { makeEmbeddings } from '../retrieval/make.ts'
import type { Examples } from '../retrieval/pool.ts'
import type { Options } from './command.ts'
import { engineFor } from './engine.ts'
import type { Terminal } from './terminal.ts'

interface Embedded {
  readonly config: Config
  readonly folder: string
  readonly examples?: Examples | null
}

/** The same, once its embeddings are there. */
export const embedded = <A extends Embedded>(
  x: A,
  o: Options,
  t: Terminal,
): TE.TaskEither<Issues, A> =>
  pipe(
    makeEmbeddings(
      x.config,
      x.folder,
      x.examples ?? null,
      () => engineFor(x.config, o),
      (done, of) => t.status(`embedding rows to retrieve: ${done}/${of}`),
    ),
    TE.map(() => {
      t.status(null)
      return x
    }),
  )
