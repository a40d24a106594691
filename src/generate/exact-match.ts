/** Held-out rows answered and compared with what the data says: the share that matches exactly, and rows to look at. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { locate, rowName } from '../data/cell.ts'
import { exactMatch, isExactMatch } from '../data/metrics.ts'
import { expressed } from '../data/expressed.ts'
import type { SplitName } from '../data/split.ts'
import { issue, type Issue } from '../issue.ts'
import type { Dataset } from '../plan/dataset.ts'
import { answer, type Answer, type GenerationProgress, type Grid } from './generate.ts'
import type { Options } from './options.ts'

/** A row whose answer is known and not learned from. */
export interface Question {
  /** Index in the table. */
  readonly row: number
  /** As rendered by the template. */
  readonly prompt: string
  /** [BOS] and the prompt, cut as for training. */
  readonly ids: ReadonlyArray<number>
  /** The answer of the data as the tokenizer can say it. */
  readonly expected: string
}

/** The rows of a split that have an answer and not one to avoid, in the order of the split. */
export const questionsOf = (data: Dataset, split: SplitName): ReadonlyArray<Question> =>
  data.samples[split]
    .filter((s) => s.desirable !== false)
    .map(({ row, prompt: ids }) => {
      const { prompt, target } = data.texts[row]!
      return { row, prompt: prompt ?? '', ids, expected: expressed(data.tokenizer, target ?? '') }
    })

/** The row whose prompt has no token at all, which no model can answer; null: all have some. */
export const unasked = (data: Dataset, questions: ReadonlyArray<Question>): Issue | null => {
  const empty = questions.find((q) => q.ids.length === 0)
  return empty === undefined
    ? null
    : issue(`${rowName(data.table, empty.row)} of the data has a prompt without a token`, {
        ...locate(data.table, empty.row),
        hint: 'fill its cells, put text around them with prompt.template, or use a tokenizer that puts a BOS token first',
      })
}

export interface Answered extends Question {
  readonly answer: Answer
  /** Equal once white space at both ends is trimmed. */
  readonly matches: boolean
}

export interface Exactness {
  readonly rows: ReadonlyArray<Answered>
  /** Share of rows that match, 0 to 1; NaN without rows. */
  readonly exactMatch: number
  /** Rows whose prompt lost tokens because it did not fit the grid. */
  readonly cut: number
  /** Rows whose answer was ended by a limit. */
  readonly unfinished: number
}

const judged = (questions: ReadonlyArray<Question>, answers: ReadonlyArray<Answer>): Exactness => {
  const rows = questions.map((q, i) => {
    const given = answers[i]!
    return { ...q, answer: given, matches: isExactMatch(given.text, q.expected) }
  })
  return {
    rows,
    exactMatch: exactMatch(rows.map((r) => ({ answer: r.answer.text, expected: r.expected }))),
    cut: rows.filter((r) => r.answer.cut > 0).length,
    unfinished: rows.filter((r) => r.answer.stopped === 'length').length,
  }
}

/** Answers all questions with the session's weights as they are now. Left: as `answer`. */
export const exactness = (
  session: Session,
  g: Grid,
  questions: ReadonlyArray<Question>,
  o: Options,
  onProgress?: (p: GenerationProgress) => void,
): TE.TaskEither<Issue, Exactness> =>
  pipe(
    answer(
      session,
      g,
      // Seeded by the row, so that a row is answered the same whichever others are asked.
      questions.map(({ ids, row }) => ({ prompt: ids, sequence: row })),
      o,
      onProgress,
    ),
    TE.map((answers) => judged(questions, answers)),
  )

/** A row before and after training, for display. */
export interface Comparison {
  readonly row: number
  readonly prompt: string
  readonly expected: string
  /** Null when the base was not asked. */
  readonly before: Pick<Answered, 'answer' | 'matches'> | null
  readonly after: Pick<Answered, 'answer' | 'matches'>
}

/** The first `count` rows of two evaluations of the same questions. */
export const compared = (
  before: Exactness | null,
  after: Exactness,
  count: number,
): ReadonlyArray<Comparison> => {
  const earlier = new Map(before?.rows.map((r) => [r.row, r]))
  const short = ({ answer: given, matches }: Answered) => ({ answer: given, matches })
  return after.rows.slice(0, count).map((r) => {
    const was = earlier.get(r.row)
    return {
      row: r.row,
      prompt: r.prompt,
      expected: r.expected,
      before: was === undefined ? null : short(was),
      after: short(r),
    }
  })
}
