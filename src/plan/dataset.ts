/** The dataset of a job: rows read, prompts rendered, split, and turned into samples, with an account of every loss. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import { answerCap, extracted } from '../config/outputs.ts'
import { isEmpty, locate, rowName, unknownColumn, type Table } from '../data/cell.ts'
import type { Dataset as Rows } from '../data/dataset.ts'
import { renderPrompts } from '../data/prompt.ts'
import { str } from '../data/python.ts'
import { buildSamples, type RowText, type SampleOptions, type Samples } from '../data/samples.ts'
import { splitNames } from '../data/split.ts'
import { roomOf } from '../data/pack.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { ModelSpec } from '../models/spec.ts'
import type { Contexts } from '../retrieval/contexts.ts'
import { extrasOf, preferred } from './preferences.ts'
import { promptSpec, readRows } from './rows.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'
import { labelledSamples, type Known, type LabelledRows } from './labelled.ts'

/** Prepared rows, and the tokenizer that made tokens of them. */
export interface Dataset extends Rows {
  readonly tokenizer: Tokenizer
}

const textsOf = (
  c: Config,
  table: Table,
  asking: boolean,
  context: ((row: number) => string) | undefined,
): E.Either<Issues, ReadonlyArray<RowText>> => {
  const targets = c.output_features.map((f) => f.column)
  // As Ludwig has it: a row without a label has the fallback's.
  const fallback = extracted(c)?.preprocessing.fallback_label || null
  const gone = targets.findIndex((t) => !table.columns.includes(t))
  if (gone >= 0 && !asking)
    return E.left(
      one({
        ...unknownColumn(targets[gone]!, table),
        file: table.file,
        path: `output_features[${gone}].name`,
      }),
    )
  return pipe(
    E.Do,
    E.apS(
      'prompts',
      renderPrompts({ ...promptSpec(c), ...(context === undefined ? {} : { context }) }, table),
    ),
    E.apS('extras', extrasOf(c, table, asking)),
    E.map(({ prompts, extras }) =>
      prompts.map((prompt, row): RowText => {
        const cells = targets.map((t) => table.rows[row]![t] ?? null)
        const target = cells.some(isEmpty) ? fallback : cells.map(str).join(', ')
        return { row, prompt, target, ...extras[row] }
      }),
    ),
  )
}

/** How long prompts and answers may be. */
export const limits = (c: Config, spec: ModelSpec) => {
  const prompt = c.input_features[0].preprocessing.max_sequence_length
  const target = answerCap(c)
  return {
    ...(prompt === null ? {} : { promptLimit: prompt }),
    ...(target === null ? {} : { targetLimit: target }),
    sequenceLimit: sequenceLimit(c, spec),
    targetBos: c.compiler.target_bos,
    modelVocab: spec.vocab,
  }
}

/** Tokens that prompt and answer may have together. */
export const sequenceLimit = (c: Config, spec: ModelSpec): number =>
  Math.min(c.preprocessing.global_max_sequence_length ?? spec.context, spec.context)

/** The row whose sample is longer than a row of `length` tokens, the first of them; null: all fit. */
export const longRow = ({ samples, table }: Dataset, length: number): Issue | null => {
  const long = splitNames
    .flatMap((name) => samples[name])
    .filter((s) => roomOf(s) > length)
    .toSorted((a, b) => a.row - b.row)
  const [first, ...rest] = long
  if (first === undefined) return null
  const most = long.reduce((m, s) => Math.max(m, roomOf(s)), 0)
  const more =
    rest.length === 0
      ? ''
      : `, and ${rest.length} more ${rest.length === 1 ? 'is' : 'are'} too long`
  return issue(
    `${rowName(table, first.row)} of the data has ${roomOf(first)} tokens, and compiler.row_length is ${length}${more}`,
    {
      ...locate(table, first.row),
      path: 'compiler.row_length',
      hint: `set compiler.row_length to ${most} or to auto`,
    },
  )
}

const writtenSamples = (
  { table, split, texts, tokenizer }: LabelledRows,
  options: SampleOptions,
): E.Either<Issues, { readonly built: ReadonlyArray<Samples> }> =>
  pipe(
    [...splitNames],
    E.traverseArray((name) =>
      buildSamples(
        tokenizer,
        split[name].map((row) => texts[row]!),
        options,
        (row) => locate(table, row),
      ),
    ),
    E.map((built) => ({ built })),
  )

/** What a data set needs besides its file where it is asked, or where prompts show other rows. */
export interface Asking extends Known {
  readonly contexts: Contexts | null
}

/** Reads and prepares `file` for a model whose tokenizer lies in `folder`; `asking`: rows may lack answers. Left: every problem of file, columns, split. */
export const prepareDataset = (
  c: Config,
  file: string,
  folder: string,
  spec: ModelSpec,
  { asking = false, targets, contexts = null }: Partial<Asking> = {},
): E.Either<Issues, Dataset> =>
  pipe(
    readRows(c, file),
    E.bind('context', (rows) => (contexts === null ? E.right(undefined) : contexts(rows))),
    E.bind('texts', ({ table, context }) => textsOf(c, table, asking, context)),
    E.bind('tokenizer', () => pipe(loadTokenizer(folder), E.mapLeft(one))),
    E.bind('made', (rows) =>
      c.model_type === 'ecd'
        ? labelledSamples(c, rows, limits(c, spec), {
            asking,
            ...(targets === undefined ? {} : { targets }),
          })
        : writtenSamples(rows, limits(c, spec)),
    ),
    E.chain(({ made: { built, ...more }, table, texts, split, tokenizer }) => {
      const rest = { table, texts, split, tokenizer }
      const [train, validation, test] = built.map((b) => b.samples)
      const notes = built.flatMap((b) => b.notes)
      return train!.length === 0 && !asking && c.trainer.type !== 'none'
        ? E.left(
            one(
              issue('no training row has anything to learn: every answer is empty or cut off', {
                file: table.file,
                hint: 'raise preprocessing.global_max_sequence_length, or fill the answers',
              }),
            ),
          )
        : pipe(
            preferred(c, sequenceLimit(c, spec), rest.table.file, {
              train: train!,
              validation: validation!,
              test: test!,
            }),
            E.map((samples) => ({ ...rest, ...more, notes, samples })),
          )
    }),
  )
