/** The dataset of a job: rows read, prompts rendered, split, and turned into samples, with an account of every loss. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/schema/config.ts'
import { isEmpty, locate, rowName, unknownColumn, type Table } from '../data/cell.ts'
import type { Dataset as Rows } from '../data/dataset.ts'
import { renderPrompts } from '../data/prompt.ts'
import { str } from '../data/python.ts'
import { buildSamples, type RowText } from '../data/samples.ts'
import { splitNames } from '../data/split.ts'
import { lengthOf } from '../data/pack.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { ModelSpec } from '../models/spec.ts'
import type { Contexts } from '../retrieval/contexts.ts'
import { promptSpec, readRows } from './rows.ts'
import { loadTokenizer, type Tokenizer } from '../tokenizer/tokenizer.ts'

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
  const target = c.output_features[0].column
  if (!table.columns.includes(target) && !asking)
    return E.left(
      one({
        ...unknownColumn(target, table),
        file: table.file,
        path: 'output_features[0].name',
      }),
    )
  return pipe(
    renderPrompts({ ...promptSpec(c), ...(context === undefined ? {} : { context }) }, table),
    E.map((prompts) =>
      prompts.map((prompt, row): RowText => {
        const cell = table.rows[row]![target] ?? null
        return { row, prompt, target: isEmpty(cell) ? null : str(cell) }
      }),
    ),
  )
}

const limits = (c: Config, spec: ModelSpec) => {
  const prompt = c.input_features[0].preprocessing.max_sequence_length
  const target = c.output_features[0].preprocessing.max_sequence_length
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
    .filter((s) => lengthOf(s) > length)
    .toSorted((a, b) => a.row - b.row)
  const [first, ...rest] = long
  if (first === undefined) return null
  const most = long.reduce((m, s) => Math.max(m, lengthOf(s)), 0)
  const more =
    rest.length === 0
      ? ''
      : `, and ${rest.length} more ${rest.length === 1 ? 'is' : 'are'} too long`
  return issue(
    `${rowName(table, first.row)} of the data has ${lengthOf(first)} tokens, and compiler.row_length is ${length}${more}`,
    {
      ...locate(table, first.row),
      path: 'compiler.row_length',
      hint: `set compiler.row_length to ${most} or to auto`,
    },
  )
}

/** What a data set needs besides its file where it is asked, or where prompts show other rows. */
export interface Asking {
  /** Rows are asked, so those without an answer count, too. */
  readonly asking?: boolean
  readonly contexts?: Contexts | null
}

/** Reads and prepares `file` for a model whose tokenizer lies in `folder`. Left: every problem of file, columns, split. */
export const prepareDataset = (
  c: Config,
  file: string,
  folder: string,
  spec: ModelSpec,
  { asking = false, contexts = null }: Asking = {},
): E.Either<Issues, Dataset> =>
  pipe(
    readRows(c, file),
    E.bind('context', (rows) => (contexts === null ? E.right(undefined) : contexts(rows))),
    E.bind('texts', ({ table, context }) => textsOf(c, table, asking, context)),
    E.bind('tokenizer', () => pipe(loadTokenizer(folder), E.mapLeft(one))),
    E.bind('built', ({ table, texts, split, tokenizer }) =>
      pipe(
        [...splitNames],
        E.traverseArray((name) =>
          buildSamples(
            tokenizer,
            split[name].map((row) => texts[row]!),
            limits(c, spec),
            (row) => locate(table, row),
          ),
        ),
      ),
    ),
    E.chain(({ built, table, texts, split, tokenizer }) => {
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
        : E.right({
            table,
            texts,
            split,
            tokenizer,
            notes,
            samples: { train: train!, validation: validation!, test: test! },
          })
    }),
  )
