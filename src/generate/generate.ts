/** Answers any number of prompts, batch by batch: prompts into the cache at once, then a token a step until all have ended. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session, Values } from '../../backends/backend.ts'
import { issue, type Issue } from '../issue.ts'
import type { Shapes } from '../models/llama.ts'
import { call } from '../train/problem.ts'
import { beamBatch } from './beam-batch.ts'
import { found, openSearch, type Search } from './beams.ts'
import { breathe } from './breathe.ts'
import { broken } from './broken.ts'
import { constrained, isFree, unconstrained } from './constraints.ts'
import type { Beams, Options } from './options.ts'
import { finish, grid, openRow, placeholder, stepGrid, type Ending, type Row } from './rows.ts'
import { choose, logProb } from './sample.ts'
import { beforeStop } from './stops.ts'

/** Sequences decoded side by side, the longest prompt, and the places of the cache. */
export type Grid = NonNullable<Shapes['generate']>

export interface Request {
  /** [BOS] and the prompt. */
  readonly prompt: ReadonlyArray<number>
  /** Its number, by which its draws are seeded: the same wherever it stands among the requests. */
  readonly sequence: number
}

export interface Answer {
  /** Without the id that ended it. */
  readonly ids: ReadonlyArray<number>
  /** Without the string that ended it, which its ids hold. */
  readonly text: string
  /** ln of each id's probability by the model itself, before temperature, penalties and bans; empty unless asked for. */
  readonly logProbs: ReadonlyArray<number>
  readonly stopped: Ending
  /** Tokens left out near the prompt's beginning because it did not fit. */
  readonly cut: number
}

export interface GenerationProgress {
  /** Requests answered, of all. */
  readonly done: number
  readonly of: number
  /** Tokens generated. */
  readonly tokens: number
}

/** Ids that a row may not have yet. */
const bannedOf = (row: Row, o: Options): ReadonlyArray<number> =>
  row.ids.length < o.minNew ? o.eosIds : []

/** Greedy choices without a ban are the device's own: an id a row comes back, not a vocabulary of scores. */
const wantedOf = (rows: ReadonlyArray<Row>, o: Options): 'next' | 'logits' =>
  o.sampling.temperature === 0 &&
  o.scored !== true &&
  isFree(o.constraints ?? unconstrained) &&
  rows.every((r) => r.stopped !== null || bannedOf(r, o).length === 0)
    ? 'next'
    : 'logits'

interface Scores {
  readonly wanted: 'next' | 'logits'
  readonly values: Values
}

const logitsOf = (values: Values, r: number, o: Options): Float32Array =>
  (values as Float32Array).subarray(r * o.vocab, (r + 1) * o.vocab)

/** The id of row `r` from what the model returned; null: no token has a finite score. */
const chosenOf = ({ wanted, values }: Scores, r: number, row: Row, o: Options): number | null => {
  if (wanted === 'next') return values[r]! < 0 ? null : values[r]!
  const logits = logitsOf(values, r, o)
  const position = row.prompt.length + row.ids.length + row.cut
  const ids = [...row.prompt, ...row.ids]
  const open = constrained(logits, ids, o.constraints ?? unconstrained, bannedOf(row, o))
  return choose(open, o.sampling, { sequence: row.sequence, position })
}

/** Gives every row its next token. Left: the model's numbers are broken. */
const advance = (rows: ReadonlyArray<Row>, scores: Scores, o: Options): Issue | null => {
  for (const [r, row] of rows.entries()) {
    if (row.stopped !== null) continue
    const id = chosenOf(scores, r, row, o)
    if (id === null) return broken
    const scored = o.scored === true ? logProb(logitsOf(scores.values, r, o), id) : undefined
    finish(row, id, o, scored)
  }
  return null
}

const open = (rows: ReadonlyArray<Row>): boolean => rows.some((r) => r.stopped === null)

const runBatch = async (
  session: Session,
  g: Grid,
  rows: ReadonlyArray<Row>,
  o: Options,
  onStep: () => void,
): Promise<E.Either<Issue, void>> => {
  const full = [...rows, ...Array.from({ length: g.batch - rows.length }, () => placeholder)]
  const run = (fn: 'prefill' | 'decode', inputs: Feeds): Promise<E.Either<Issue, Scores>> => {
    const wanted = wantedOf(full, o)
    return pipe(
      call(session.run(fn, inputs, [wanted])),
      TE.map((outs) => ({ wanted, values: outs[wanted]! })),
    )()
  }
  let ran = await run('prefill', grid(full, g))
  for (;;) {
    if (E.isLeft(ran)) return ran
    const why = advance(full, ran.right, o)
    if (why !== null) return E.left(why)
    onStep()
    if (!open(full)) return E.right(undefined)
    await breathe()
    ran = await run('decode', stepGrid(full, g))
  }
}

/** Why some prompt cannot be answered by any model with this vocabulary; null: all can. */
export const unanswerable = (requests: ReadonlyArray<Request>, vocab: number): Issue | null => {
  for (const { prompt, sequence } of requests) {
    if (prompt.length === 0)
      return issue(`prompt ${sequence + 1} has no token to begin with`, {
        hint: 'write something, or use a tokenizer that puts a BOS token first',
      })
    const odd = prompt.find((id) => !(Number.isInteger(id) && id >= 0 && id < vocab))
    if (odd !== undefined)
      return issue(`prompt ${sequence + 1} has a token of id ${odd}`, {
        expected: `ids from 0 to below ${vocab}, which the model knows`,
        hint: 'the tokenizer and the model do not belong together',
      })
  }
  return null
}

/** What one kind of batch does: opens requests, answers those of a batch, and says how far it is and what came out. */
interface Way<S> {
  readonly open: (r: Request) => S
  readonly prompt: (s: S) => number
  readonly run: (batch: ReadonlyArray<S>, report: () => void) => Promise<E.Either<Issue, void>>
  readonly isDone: (s: S) => boolean
  readonly answer: (s: S) => Omit<Answer, 'text'>
  /** Requests of a batch. */
  readonly atOnce: number
}

const singly = (session: Session, g: Grid, o: Options): Way<Row> => ({
  open: (r) => openRow(r, g, o),
  prompt: (row) => row.prompt.length,
  run: (rows, report) => runBatch(session, g, rows, o, report),
  isDone: (row) => row.stopped !== null,
  answer: ({ ids, logProbs, stopped, cut }) => ({
    ids,
    logProbs,
    stopped: stopped ?? 'length',
    cut,
  }),
  atOnce: g.batch,
})

const byBeams = (session: Session, g: Grid, o: Options, b: Beams): Way<Search> => ({
  open: (r) => openSearch(r, g, o, b.width),
  prompt: (s) => s.prompt.length,
  run: (searches, report) => beamBatch(session, g, searches, o, b, report),
  isDone: (s) => !s.open,
  answer: (s) => {
    const { ids, logProbs, stopped } = found(s, o)
    return { ids, logProbs: o.scored === true ? logProbs : [], stopped, cut: s.cut }
  },
  atOnce: Math.floor(g.batch / b.width),
})

const answerWith = <S>(
  way: Way<S>,
  requests: ReadonlyArray<Request>,
  o: Options,
  onProgress: (p: GenerationProgress) => void,
): TE.TaskEither<Issue, ReadonlyArray<Answer>> =>
  pipe(
    async (): Promise<E.Either<Issue, ReadonlyArray<S>>> => {
      const all = requests.map(way.open)
      const sorted = all.toSorted((a, b) => way.prompt(b) - way.prompt(a))
      const tokensOf = (list: ReadonlyArray<S>) =>
        list.reduce((n, s) => n + way.answer(s).ids.length, 0)
      for (let at = 0, tokens = 0; at < sorted.length; at += way.atOnce) {
        const batch = sorted.slice(at, at + way.atOnce)
        const ran = await way.run(batch, () => {
          const done = at + batch.filter(way.isDone).length
          onProgress({ done, of: all.length, tokens: tokens + tokensOf(batch) })
        })
        if (E.isLeft(ran)) return ran
        tokens += tokensOf(batch)
      }
      return E.right(all)
    },
    TE.map((all) =>
      all.map((s) => {
        const made = way.answer(s)
        const text = o.decode(made.ids)
        return { ...made, text: made.stopped === 'stop' ? beforeStop(text, o) : text }
      }),
    ),
  )

/**
 * One answer a request, in their order. Prompts of like length share a batch; which do changes no answer. A prompt
 * too long for the grid keeps its BOS and its last tokens. Left: an empty prompt, an unknown id, broken weights, the backend.
 */
export const answer = (
  session: Session,
  g: Grid,
  requests: ReadonlyArray<Request>,
  o: Options,
  onProgress: (p: GenerationProgress) => void = () => {},
): TE.TaskEither<Issue, ReadonlyArray<Answer>> => {
  const why = unanswerable(requests, o.vocab)
  if (why !== null) return TE.left(why)
  return o.beams === undefined
    ? answerWith(singly(session, g, o), requests, o, onProgress)
    : answerWith(byBeams(session, g, o, o.beams), requests, o, onProgress)
}
