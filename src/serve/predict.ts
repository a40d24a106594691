/** Rows answered by a model that writes, under Ludwig's names of a text output. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Row } from '../data/cell.ts'
import type { Issue, Issues } from '../issue.ts'
import { answerAll, type Answered, type Choice, type Manner } from './answering.ts'
import type { Busy } from './engine.ts'
import type { Served } from './model.ts'
import { columnsOf, promptsOf } from './prompts.ts'
import { refusal, type Predictor, type Refusal } from './service.ts'
import { unadjusted } from './work.ts'

const inWords = (i: Issue): string => (i.hint === undefined ? i.message : `${i.message}; ${i.hint}`)

export const unprepared = ([first]: Issues): Refusal => refusal(400, inWords(first))

export const unanswered = (why: Busy | Issue | null): Refusal => {
  if (why === null) return refusal(504, 'the request timed out before it was answered')
  if (why === 'full' || why === 'beyond')
    return refusal(503, 'too many requests are waiting, try again later')
  if (why === 'closing') return refusal(503, 'the server is shutting down')
  return refusal(500, inWords(why))
}

/** A prompt that leaves no place for an answer is refused: where it were cut, nobody would see it. */
const roomFor = (
  m: Served,
  prompts: ReadonlyArray<ReadonlyArray<number>>,
): E.Either<Refusal, void> => {
  const row = prompts.findIndex((p) => p.length === 0 || p.length >= m.context)
  if (row < 0) return E.right(undefined)
  const { length } = prompts[row]!
  return E.left(
    refusal(
      400,
      length === 0
        ? `the prompt of row ${row + 1} has no token`
        : `the prompt of row ${row + 1} has ${length} tokens, and prompt and answer may have ${m.context} together`,
    ),
  )
}

/** Ludwig's columns of a text output. */
const columns = (m: Served): ReadonlyArray<string> =>
  ['predictions', 'response', 'probabilities', 'probability'].map(
    (kind) => `${m.config.output_features[0].name}_${kind}`,
  )

/** Answers as many rows at a time as there are slots, so that a long table is one request among others. */
const inWaves = async (
  m: Served,
  choices: ReadonlyArray<Choice>,
  manner: Manner,
  signal: AbortSignal,
): Promise<E.Either<Refusal, ReadonlyArray<Answered>>> => {
  const answers: Array<Answered> = []
  for (let at = 0; at < choices.length; at += m.engine.grid.batch) {
    const wave = choices.slice(at, at + m.engine.grid.batch)
    const answered = await answerAll(m, wave, manner, signal)
    if (E.isLeft(answered)) return E.left(unanswered(answered.left))
    answers.push(...answered.right)
  }
  return E.right(answers)
}

/** Answers as `generate --dataset` gives them: the config's `generation`, seeded by row. */
const predicted = async (
  m: Served,
  rows: ReadonlyArray<Row>,
  signal: AbortSignal,
): Promise<E.Either<Refusal, ReadonlyArray<Answered>>> => {
  const prompts = pipe(
    promptsOf(m, rows),
    E.mapLeft(unprepared),
    E.chainFirst((ps) => roomFor(m, ps)),
  )
  if (E.isLeft(prompts)) return prompts
  const choices = prompts.right.map((prompt, sequence) => ({
    prompt,
    sequence,
    limit: Math.min(m.options.maxNew, m.context - prompt.length),
  }))
  const stop = m.options.stops?.strings ?? []
  const manner = { sampling: m.options.sampling, adjust: unadjusted, stop, scored: 0 }
  return inWaves(m, choices, manner, signal)
}

/** In the order of the columns; the probability is the sum of the tokens' logarithms, as Ludwig has it. */
const valuesOf = (m: Served, { ids, text, scores }: Answered): ReadonlyArray<unknown> => [
  ids.map((id) => m.tokenizer.decode([id])),
  text,
  scores.map((s) => Math.exp(s.logProb)),
  scores.reduce((sum, s) => sum + s.logProb, 0),
]

export const textPredictor = (m: Served): Predictor => ({
  inputs: columnsOf(m),
  columns: columns(m),
  predict: async (rows, signal) =>
    pipe(
      await predicted(m, rows, signal),
      E.map((answers) => answers.map((a) => valuesOf(m, a))),
    ),
})
