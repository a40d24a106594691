/** Every row of a split answered, whether or not the data knows the answer, and what the answers are worth. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { expressed } from '../data/expressed.ts'
import { exactMatch, isExactMatch } from '../data/metrics.ts'
import { promptIds } from '../data/samples.ts'
import type { SplitName } from '../data/split.ts'
import {
  answer,
  optionsOf,
  type Answer,
  type GenerationProgress,
  type Grid,
} from '../generate/index.ts'
import type { Issue } from '../issue.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { blameRows, evaluateSamples } from '../train/evaluate.ts'
import { metricsOf } from '../train/measured.ts'

/** A row to be answered. */
export interface Asked {
  /** Index in the table. */
  readonly row: number
  readonly prompt: string
  /** [BOS] and the prompt, cut as for training. */
  readonly ids: ReadonlyArray<number>
  /** The answer of the data as the tokenizer can say it; null: the data has none. */
  readonly expected: string | null
}

export interface Prediction extends Asked {
  readonly answer: Answer
  /** The answer's tokens, each as text. */
  readonly tokens: ReadonlyArray<string>
}

export interface Predicted {
  readonly rows: ReadonlyArray<Prediction>
  /** By name; empty where no row has an answer to compare with. */
  readonly metrics: Readonly<Record<string, number>>
}

/** The rows of a split in the order of the file. */
export const askedOf = (
  { config }: Plan,
  data: Dataset,
  split: SplitName,
): ReadonlyArray<Asked> => {
  const limit = config.input_features[0].preprocessing.max_sequence_length
  return data.split[split]
    .toSorted((a, b) => a - b)
    .map((row): Asked => {
      const text = data.texts[row]!
      const { ids } = promptIds(data.tokenizer, text, limit === null ? {} : { promptLimit: limit })
      const expected = text.target === null ? null : expressed(data.tokenizer, text.target)
      return { row, prompt: text.prompt ?? '', ids, expected }
    })
}

const matchesOf = (rows: ReadonlyArray<Prediction>): Predicted['metrics'] => {
  const known = rows.flatMap(({ expected, answer: { text } }) =>
    expected === null ? [] : [{ expected, answer: text }],
  )
  return known.length === 0 ? {} : { exact_match: exactMatch(known) }
}

/** Whether an answer is the data's; null where the data has none. */
export const isRight = ({ expected, answer: { text } }: Prediction): boolean | null =>
  expected === null ? null : isExactMatch(text, expected)

/** Answers `asked` and measures the split's samples. Left: as `answer` and `evaluateSamples`. */
export const predict = (
  session: Session,
  plan: Plan,
  split: SplitName,
  g: Grid,
  asked: ReadonlyArray<Asked>,
  onProgress?: (p: GenerationProgress) => void,
): TE.TaskEither<Issue, Predicted> => {
  const data = plan.data!
  const options = { ...optionsOf(plan.config, plan.base.spec, data.tokenizer), scored: true }
  // Seeded by the row, so that a row is answered the same whichever others are asked.
  const requests = asked.map(({ ids, row }) => ({ prompt: ids, sequence: row }))
  const samples = data.samples[split]
  return pipe(
    TE.Do,
    TE.bind('counts', () =>
      samples.length === 0
        ? TE.right(null)
        : evaluateSamples(session, plan.shapes, samples, blameRows(data.table)),
    ),
    TE.bind('answers', () => answer(session, g, requests, options, onProgress)),
    TE.map(({ counts, answers }) => {
      const rows = asked.map((a, i): Prediction => {
        const given = answers[i]!
        return { ...a, answer: given, tokens: given.ids.map((id) => data.tokenizer.decode([id])) }
      })
      const measured = counts === null ? {} : metricsOf(counts)
      return { rows, metrics: { ...measured, ...matchesOf(rows) } }
    }),
  )
}
