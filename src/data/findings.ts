/** Everything in the data that deserves a look before a model learns from it. */
import {
  conflictsOf,
  noConflicts,
  leakedRows,
  missingOf,
  type Conflicts,
  type MissingCells,
} from './contents.ts'
import type { Dataset } from './dataset.ts'
import { lostOf, type Lost } from './lost.ts'
import type { PromptSpec } from './prompt.ts'
import {
  alteredOf,
  idleColumns,
  missingWordsOf,
  repeatedKeysOf,
  type Altered,
  type IdleColumn,
  type MissingWords,
  type RepeatedKeys,
} from './reading.ts'
import { listRows, type ListRows, type RowList } from './row-list.ts'
import { dropped, type NoteKind, type RowNote, type Sample } from './samples.ts'
import { splitNames } from './split.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

export interface NoteReport {
  readonly kind: NoteKind
  readonly rows: RowList
  readonly dropped: boolean
  /** Tokens lost in all rows, and the most in one. */
  readonly tokens: number
  readonly most: number
}

export interface Findings {
  readonly notes: ReadonlyArray<NoteReport>
  /** Words that were read as missing cells. */
  readonly missingWords: ReadonlyArray<MissingWords>
  /** Cells with an object that has one key twice. */
  readonly repeatedKeys: ReadonlyArray<RepeatedKeys>
  /** Answers that come back from the tokenizer as another text. */
  readonly altered: Altered | undefined
  /** Characters of prompts that the tokenizer drops. */
  readonly lost: Lost | undefined
  /** Columns that look as if they should steer something and do not. */
  readonly idle: ReadonlyArray<IdleColumn>
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
}

export interface FindingOptions {
  readonly prompt: PromptSpec
  /** The columns that prompts, answers and the split are made of. */
  readonly uses: ReadonlySet<string>
}

const noteKinds: ReadonlyArray<NoteKind> = [
  'empty target',
  'nothing scored',
  'prompt cut',
  'target cut',
  'empty rejected',
  'rejected cut',
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

export const findingsOf = (
  dataset: Dataset,
  tokenizer: Tokenizer,
  { prompt, uses }: FindingOptions,
): Findings => {
  const { table, notes } = dataset
  const list = listRows(table)
  const samples = splitNames.flatMap((name) => dataset.samples[name])
  const rowsOf = (those: ReadonlyArray<Sample>): RowList => list(those.map(({ row }) => row))
  const used = splitNames.flatMap((name) => dataset.split[name]).toSorted((a, b) => a - b)
  const { bosId } = tokenizer
  const ends = new Set(tokenizer.eosIds)
  const cut = new Set(notes.flatMap(({ row, kind }) => (kind === 'sequence cut' ? [row] : [])))
  // One prompt with several answers is what preferences are made of.
  const prefers = samples.some((s) => s.rejected !== undefined || s.desirable !== undefined)
  const endsInside = ({ target }: Sample) => target.slice(0, -1).some((id) => ends.has(id))
  return {
    notes: noteReports(notes, list),
    missingWords: missingWordsOf(table, used, list),
    repeatedKeys: repeatedKeysOf(table, used, list),
    altered: alteredOf(
      dataset,
      tokenizer,
      samples.filter((sample) => sample.labels === undefined && !endsInside(sample)),
      list,
    ),
    lost: lostOf(dataset, tokenizer, samples, list),
    idle: idleColumns(table, uses, prompt.inputColumn),
    conflicts: prefers ? noConflicts : conflictsOf(dataset, used, list),
    leaks: list(leakedRows(dataset)),
    missing: missingOf(dataset, used, prompt, list),
    doubleBos: rowsOf(samples.filter((s) => bosId !== null && s.prompt.indexOf(bosId, 1) > 0)),
    innerEos: rowsOf(samples.filter(endsInside)),
    withoutEos: rowsOf(samples.filter(({ row }) => cut.has(row))),
  }
}
