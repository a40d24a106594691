/** Ludwig's own endpoints: form fields are columns, and answers come under the names of its predictions. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Cell, Row } from '../data/cell.ts'
import type { Issue, Issues } from '../issue.ts'
import { answerAll, type Answered, type Choice, type Manner } from './answering.ts'
import type { Busy } from './engine.ts'
import type { Served } from './model.ts'
import { columnsOf, promptsOf } from './prompts.ts'
import { unadjusted } from './work.ts'

/** Ludwig's refusals are a status and a sentence. */
export interface Refusal {
  readonly status: number
  readonly error: string
}

const refusal = (status: number, error: string): Refusal => ({ status, error })

const inWords = (i: Issue): string => (i.hint === undefined ? i.message : `${i.message}; ${i.hint}`)

const unprepared = ([first]: Issues): Refusal => refusal(400, inWords(first))

const unanswered = (why: Busy | Issue | null): Refusal => {
  if (why === null) return refusal(504, 'the request timed out before it was answered')
  if (why === 'full' || why === 'beyond')
    return refusal(503, 'too many requests are waiting, try again later')
  if (why === 'closing') return refusal(503, 'the server is shutting down')
  return refusal(500, inWords(why))
}

const complete = (m: Served, columns: ReadonlyArray<string>): E.Either<Refusal, void> => {
  const lacking = columnsOf(m).filter((c) => !columns.includes(c))
  return lacking.length === 0
    ? E.right(undefined)
    : E.left(
        refusal(
          400,
          `Data received does not contain all input features. Missing features: ${lacking.join(', ')}.`,
        ),
      )
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

export const predict = async (
  m: Served,
  form: Row,
  signal: AbortSignal,
): Promise<E.Either<Refusal, object>> => {
  const whole = complete(m, Object.keys(form))
  if (E.isLeft(whole)) return whole
  const [names, answers] = [columns(m), await predicted(m, [form], signal)]
  return pipe(
    answers,
    E.map(([a]) => valuesOf(m, a!)),
    E.map((values) => Object.fromEntries(names.map((n, i) => [n, values[i]]))),
  )
}

const cellOf = (value: unknown): Cell | undefined => {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value
  return undefined
}

const notATable = refusal(
  400,
  'the field `dataset` must be JSON with `columns` (names), `data` (rows of cells) and, if wanted, `index`',
)

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

interface Batch {
  readonly columns: ReadonlyArray<string>
  readonly index: ReadonlyArray<unknown>
  readonly rows: ReadonlyArray<Row>
}

const batchOf = (text: string): E.Either<Refusal, Batch> =>
  pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => notATable,
    ),
    E.chain((json) => {
      if (!isRecord(json)) return E.left(notATable)
      const { columns: names, data, index } = json
      const isTable =
        Array.isArray(names) &&
        names.every((n) => typeof n === 'string') &&
        Array.isArray(data) &&
        data.every((row) => Array.isArray(row) && row.length === names.length) &&
        (index === undefined || (Array.isArray(index) && index.length === data.length))
      if (!isTable) return E.left(notATable)
      const cells = (data as ReadonlyArray<ReadonlyArray<unknown>>).map((row) => row.map(cellOf))
      if (cells.flat().includes(undefined)) return E.left(notATable)
      const rows = cells.map((row) => Object.fromEntries(row.map((c, i) => [names[i]!, c!])))
      return E.right({
        columns: names as ReadonlyArray<string>,
        index: (index as ReadonlyArray<unknown> | undefined) ?? rows.map((_, i) => i),
        rows,
      })
    }),
  )

/** pandas' `split` form, as Ludwig takes and gives it. */
export const batchPredict = async (
  m: Served,
  form: Row,
  signal: AbortSignal,
): Promise<E.Either<Refusal, object>> => {
  const { dataset } = form
  const batch = typeof dataset === 'string' ? batchOf(dataset) : E.left(notATable)
  if (E.isLeft(batch)) return batch
  const { rows, index } = batch.right
  const whole = complete(m, batch.right.columns)
  if (E.isLeft(whole)) return whole
  return pipe(
    rows.length === 0 ? E.right([]) : await predicted(m, rows, signal),
    E.map((answers) => ({
      index,
      columns: columns(m),
      data: answers.map((a) => valuesOf(m, a)),
    })),
  )
}
