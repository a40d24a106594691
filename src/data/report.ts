/** What a person should know about the data before a model learns from it. */
import * as E from 'fp-ts/lib/Either.js'
import { rowName } from './cell.ts'
import type { Dataset } from './dataset.ts'
import { distribution, type Distribution } from './distribution.ts'
import { findingsOf, type FindingOptions, type Findings } from './findings.ts'
import { order } from './order.ts'
import { lengthOf, pack } from './pack.ts'
import type { Sample } from './samples.ts'
import { splitNames, type SplitName } from './split.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

export interface SplitReport {
  readonly name: SplitName
  readonly rows: number
  readonly samples: number
  /** BOS among them; as kept, after cutting. */
  readonly promptTokens: Distribution
  /** EOS among them; as kept, after cutting. */
  readonly targetTokens: Distribution
  /** The same of worse answers; null where there are none. Tokens count the prompt once more then. */
  readonly rejectedTokens: Distribution | null
  readonly tokens: Distribution
  /** UTF-16 units of prompt and answer as written. */
  readonly characters: Distribution
}

export interface PackingReport {
  /** Tokens of one packed row. */
  readonly rowLength: number
  readonly batch: number
  /** Tokens of the training samples, the places computed for them when packed, and when each batch is padded to its longest. */
  readonly tokens: number
  readonly packed: number
  readonly padded: number
}

/** A training sample token by token. */
export interface Example {
  readonly name: string
  readonly prompt: ReadonlyArray<string>
  readonly target: ReadonlyArray<string>
}

/** How often the training samples have each label. */
export interface LabelReport {
  readonly name: string
  readonly counts: ReadonlyArray<readonly [label: string, count: number]>
}

export interface DataReport extends Findings {
  readonly file: string
  readonly separator: string | null
  readonly rows: number
  readonly splits: ReadonlyArray<SplitReport>
  /** Undefined when a sample does not fit into a row. */
  readonly packing: PackingReport | undefined
  readonly example: Example | undefined
  readonly labels: ReadonlyArray<LabelReport>
}

export interface ReportOptions extends FindingOptions {
  /** Tokens of one packed row, samples of one effective batch, and the seed that orders them. */
  readonly rowLength: number
  readonly batch: number
  readonly seed: number
}

const splitReport = (dataset: Dataset, name: SplitName): SplitReport => {
  const samples = dataset.samples[name]
  const characters = samples.map(({ row }) => {
    const text = dataset.texts[row]
    return (text?.prompt?.length ?? 0) + (text?.target?.length ?? 0)
  })
  return {
    name,
    rows: dataset.split[name].length,
    samples: samples.length,
    promptTokens: distribution(samples.map(({ prompt }) => prompt.length)),
    targetTokens: distribution(samples.map(({ target }) => target.length)),
    rejectedTokens: samples.some((s) => s.rejected !== undefined)
      ? distribution(samples.map(({ rejected = [] }) => rejected.length))
      : null,
    tokens: distribution(samples.map(lengthOf)),
    characters: distribution(characters),
  }
}

const packingOf = (
  samples: ReadonlyArray<Sample>,
  { rowLength, batch, seed }: ReportOptions,
): PackingReport | undefined => {
  const shuffled = order(samples.length, seed, 0, true).flatMap((i) => samples[i] ?? [])
  let packed = 0
  let padded = 0
  for (let start = 0; start < shuffled.length; start += batch) {
    const members = shuffled.slice(start, start + batch)
    const rows = pack(members, { rowLength })
    if (E.isLeft(rows)) return undefined
    packed += rows.right.length * rowLength
    padded += members.length * members.reduce((max, s) => Math.max(max, lengthOf(s)), 0)
  }
  const tokens = samples.reduce((sum, sample) => sum + lengthOf(sample), 0)
  return { rowLength, batch, tokens, packed, padded }
}

const exampleOf = (dataset: Dataset, tokenizer: Tokenizer): Example | undefined => {
  const sample = dataset.samples.train[0]
  const pieces = (ids: ReadonlyArray<number>) => ids.map((id) => tokenizer.decode([id]))
  return sample
    ? {
        name: rowName(dataset.table, sample.row),
        prompt: pieces(sample.prompt),
        target: pieces(sample.target),
      }
    : undefined
}

const labelsOf = ({ samples, targets = [] }: Dataset): ReadonlyArray<LabelReport> =>
  targets.flatMap((t, h) =>
    t.kind === 'number'
      ? []
      : [
          {
            name: t.of.name,
            counts: t.classes.map(
              (label, c) =>
                [label, samples.train.filter((s) => s.labels?.[h] === c).length] as const,
            ),
          },
        ],
  )

/** The report on a prepared data set. */
export const reportData = (
  dataset: Dataset,
  tokenizer: Tokenizer,
  options: ReportOptions,
): DataReport => ({
  ...findingsOf(dataset, tokenizer, options),
  file: dataset.table.file,
  separator: dataset.table.separator,
  rows: dataset.table.rows.length,
  splits: splitNames.map((name) => splitReport(dataset, name)),
  packing: packingOf(dataset.samples.train, options),
  example: exampleOf(dataset, tokenizer),
  labels: labelsOf(dataset),
})
