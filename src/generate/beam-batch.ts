/** A batch of prompts answered by beams: each prompt in several rows of the grid, whose caches follow the beams. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session, Values } from '../../backends/backend.ts'
import { REORDER } from '../models/llama.ts'
import type { Issue } from '../issue.ts'
import { call } from '../train/problem.ts'
import { advanceSearch, type Search } from './beams.ts'
import { breathe } from './breathe.ts'
import type { Grid } from './generate.ts'
import type { Beams, Options } from './options.ts'
import { grid, placeholder, stepGrid, type Held } from './rows.ts'

/** The rows of the grid: the beams of each search side by side. */
const rowsOf = (searches: ReadonlyArray<Search>, g: Grid): ReadonlyArray<Held> => {
  const rows = searches.flatMap((s) => s.running.map(({ ids }) => ({ prompt: s.prompt, ids })))
  return [...rows, ...Array.from({ length: g.batch - rows.length }, () => placeholder)]
}

/** Every open search takes a step; where each row's cache comes from. Left: the model's numbers are broken. */
const advance = (
  searches: ReadonlyArray<Search>,
  logits: Values,
  g: Grid,
  o: Options,
  b: Beams,
): E.Either<Issue, Int32Array> => {
  const from = Int32Array.from({ length: g.batch }, (_, row) => row)
  for (const [i, s] of searches.entries()) {
    if (!s.open) continue
    const at = (beam: number): Float32Array => {
      const row = i * b.width + beam
      return (logits as Float32Array).subarray(row * o.vocab, (row + 1) * o.vocab)
    }
    const parents = advanceSearch(s, at, o, b)
    if ('message' in parents) return E.left(parents)
    parents.forEach((parent, beam) => (from[i * b.width + beam] = i * b.width + parent))
  }
  return E.right(from)
}

const moved = (from: Int32Array): boolean => from.some((row, i) => row !== i)

/** Searches until all are closed. Left: broken weights, the backend. */
export const beamBatch = async (
  session: Session,
  g: Grid,
  searches: ReadonlyArray<Search>,
  o: Options,
  b: Beams,
  onStep: () => void,
): Promise<E.Either<Issue, void>> => {
  const run = (fn: 'prefill' | 'decode', inputs: Feeds): TE.TaskEither<Issue, Values> =>
    pipe(
      call(session.run(fn, inputs, ['logits'])),
      TE.map((outs) => outs['logits']!),
    )
  const follow = (from: Int32Array): TE.TaskEither<Issue, unknown> =>
    moved(from) ? call(session.run(REORDER, { rows: from })) : TE.right(undefined)
  let ran = await run('prefill', grid(rowsOf(searches, g), g))()
  for (;;) {
    if (E.isLeft(ran)) return ran
    const from = advance(searches, ran.right, g, o, b)
    if (E.isLeft(from)) return from
    onStep()
    if (searches.every((s) => !s.open)) return E.right(undefined)
    await breathe()
    ran = await pipe(
      follow(from.right),
      TE.chain(() => run('decode', stepGrid(rowsOf(searches, g), g))),
    )()
  }
}
