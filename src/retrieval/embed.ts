/** Texts to embeddings, by a session of the encoder. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import { one, type Issue, type Issues } from '../issue.ts'
import { initialize } from '../train/initialize.ts'
import { call } from '../train/problem.ts'
import { openBase } from '../train/state.ts'
import { embeddingProgram, feeds, gridFor, tokensOf, type Encoder, type Grid } from './encoder.ts'
import type { Embeddings } from './neighbours.ts'

/** Batch by batch; a text without a token has the embedding 0. */
const embedded =
  (
    session: Session,
    size: number,
    tokens: ReadonlyArray<ReadonlyArray<number>>,
    g: Grid,
    onProgress: (done: number) => void,
  ): TE.TaskEither<Issue, Embeddings> =>
  async () => {
    const values = new Float32Array(tokens.length * size)
    for (let at = 0; at < tokens.length; at += g.rows) {
      const batch = tokens.slice(at, at + g.rows)
      const ran = await call(session.run('embed', feeds(batch, g)))()
      if (E.isLeft(ran)) return ran
      const pooled = ran.right['pooled'] as Float32Array
      batch.forEach((ids, r) => {
        if (ids.length > 0) values.set(pooled.subarray(r * size, (r + 1) * size), (at + r) * size)
      })
      onProgress(at + batch.length)
    }
    return E.right({ size, values })
  }

/** Left: the encoder cannot be compiled, loaded or run. */
export const embed = (
  backend: Backend,
  e: Encoder,
  texts: ReadonlyArray<string>,
  onProgress: (done: number) => void = () => {},
): TE.TaskEither<Issues, Embeddings> => {
  const tokens = tokensOf(e, texts)
  const g = gridFor(tokens)
  return pipe(
    TE.fromEither(embeddingProgram(e, g)),
    TE.chain(({ program }) =>
      TE.bracket(
        pipe(call(backend.prepare(program)), TE.mapLeft(one)),
        (session) =>
          pipe(
            openBase(e.base, program),
            TE.chain((source) => initialize(session, program, source, 0)),
            TE.chain(() => embedded(session, e.base.spec.hidden, tokens, g, onProgress)),
            TE.mapLeft(one),
          ),
        (session) => pipe(call(session.close()), TE.mapLeft(one)),
      ),
    ),
  )
}
