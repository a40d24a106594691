/** What a person should know about the data before a model learns from it. */
import * as E from 'fp-ts/lib/Either.js'
import { rowName } from './cell.ts'
import type { Dataset } from './dataset.ts'
import { distribution, type Distribution } from './distribution.ts'
import {
  conflictsOf,
  leakedRows,
  listRows,
  missingOf,
  type Conflicts,
  type ListRows,
  type MissingCells,
  type RowList,
} from './findings.ts'
import { order } from './order.ts'
import { lengthOf, pack } from './pack.ts'
import type { PromptSpec } from './prompt.ts'
import { dropped, type NoteKind, type RowNote, type Sample } from './samples.ts'
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
  readonly tokens: Distribution
  /** UTF-16 units of prompt and answer as written. */
  readonly characters: Distribution
}

export interface NoteReport {
  readonly kind: NoteKind
  readonly rows: RowList
  readonly dropped: boolean
  /** Tokens lost in all rows, and the most in one. */
  readonly tokens: number
  readonly most: number
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

export interface DataReport {
  readonly file: string
  readonly rows: number
  readonly splits: ReadonlyArray<SplitReport>
  readonly notes: ReadonlyArray<NoteReport>
  readonly conflicts: Conflicts
  /** Rows of validation and test whose prompt also trains. */
  readonly leaks: RowList
  /** Empty cells that a template shows as `nan`. */
  readonly missing: ReadonlyArray<MissingCells>
  /** Prompts with the BOS token inside, besides the one the tokenizer puts first. */
  readonly doubleBos: RowList
  /** Answers with an end-of-sequence token before their end. */
  readonly innerEos: RowList
  /** Samples whose end was cut off, so that their answers do not end. */
  readonly withoutEos: RowList
  /** Undefined when a sample does not fit into a row. */
  readonly packing: PackingReport | undefined
  readonly example: Example | undefined
}

export interface ReportOptions {
  readonly prompt: PromptSpec
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
    tokens: distribution(samples.map(lengthOf)),
    characters: distribution(characters),
  }
}

const noteKinds: ReadonlyArray<NoteKind> = [
  'empty target',
  'nothing scored',
  'prompt cut',
  'target cut',
  'sequence cut',
  'empty prompt filled',
]

const noteReports = (notes: ReadonlyArray<RowNote>, list: ListRows): ReadonlyArray<NoteReport> =>
  noteKinds.flatMap((kind) => {
    const those = notes.filter((note) => note.kind === kind)
    if (those.length === 0) return []
    return {
      kind,
      rows: list(those.map(({ row }) => row)),
      dropped: dropped.has(kind),
      tokens: those.reduce((sum, { tokens }) => sum + tokens, 0),
      most: those.reduce((max, { tokens }) => Math.max(max, tokens), 0),
    }
  })

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

/** The report on a prepared data set. */
export const reportData = (
  dataset: Dataset,
  tokenizer: Tokenizer,
  options: ReportOptions,
): DataReport => {
  const list = listRows(dataset)
  const samples = splitNames.flatMap((name) => dataset.samples[name])
  const rowsWhere = (test: (sample: Sample) => boolean): RowList =>
    list(samples.filter(test).map(({ row }) => row))
  const used = splitNames.flatMap((name) => dataset.split[name]).toSorted((a, b) => a - b)
  const { notes } = dataset
  const { bosId } = tokenizer
  const ends = new Set(tokenizer.eosIds)
  const cut = new Set(notes.flatMap(({ row, kind }) => (kind === 'sequence cut' ? [row] : [])))
  return {
    file: dataset.table.file,
    rows: dataset.table.rows.length,
    splits: splitNames.map((name) => splitReport(dataset, name)),
    notes: noteReports(notes, list),
    conflicts: conflictsOf(dataset, used, list),
    leaks: list(leakedRows(dataset)),
    missing: missingOf(dataset, used, options.prompt, list),
    doubleBos: rowsWhere(({ prompt }) => bosId !== null && prompt.indexOf(bosId, 1) > 0),
    innerEos: rowsWhere(({ target }) => target.slice(0, -1).some((id) => ends.has(id))),
    withoutEos: rowsWhere(({ row }) => cut.has(row)),
    packing: packingOf(dataset.samples.train, options),
    example: exampleOf(dataset, tokenizer),
  }
}
