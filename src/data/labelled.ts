/** Rows whose labels are predicted: the text alone becomes tokens, the labels are numbers beside them. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import {
  cut,
  filler,
  tooLarge,
  type RowNote,
  type RowText,
  type Sample,
  type SampleOptions,
  type Samples,
} from './samples.ts'
import { hash32 } from '../../ir/random.ts'
import type { Read } from './targets.ts'

interface Built {
  readonly sample?: Sample
  readonly notes: ReadonlyArray<RowNote>
}

/** [BOS] and the text, cut on the right; a row that lacks a label is left out, as in Ludwig. */
const build = (
  tokenizer: Tokenizer,
  { row, prompt: text }: RowText,
  reads: ReadonlyArray<Read>,
  o: SampleOptions,
): Built => {
  const labels = reads.flatMap(({ values }) => values[row] ?? [])
  if (labels.length < reads.length) return { notes: [{ row, kind: 'empty target', tokens: 0 }] }
  const limit = Math.min(o.promptLimit ?? Infinity, o.sequenceLimit)
  const { ids, lost } = cut(tokenizer.encode(text ?? filler, { addBos: true }), limit)
  const notes: ReadonlyArray<RowNote> = [
    ...(text === null ? [{ row, kind: 'empty prompt filled', tokens: 0 } as const] : []),
    ...(lost > 0 ? [{ row, kind: 'prompt cut', tokens: lost } as const] : []),
  ]
  return ids.length === 0
    ? { notes: [...notes, { row, kind: 'nothing scored', tokens: 0 }] }
    : { sample: { row, prompt: ids, target: [], labels }, notes }
}

/** One sample for each row that has all its labels, in the order given. Left: an id the model has no embedding for. */
export const buildLabelled = (
  tokenizer: Tokenizer,
  texts: ReadonlyArray<RowText>,
  reads: ReadonlyArray<Read>,
  options: SampleOptions,
  at: (row: number) => Pick<Issue, 'file' | 'line'> = () => ({}),
): E.Either<Issues, Samples> => {
  const built = texts.map((text) => build(tokenizer, text, reads, options))
  const samples = built.flatMap(({ sample }) => sample ?? [])
  for (const sample of samples) {
    const why = tooLarge(sample, tokenizer, options.modelVocab)
    const hint = 'the tokenizer and the model do not belong together'
    if (why !== undefined) return E.left(one(issue(why, { ...at(sample.row), hint })))
  }
  return E.right({ samples, notes: built.flatMap(({ notes }) => notes) })
}

export interface Balance {
  /** What share of the commoner class the rarer one becomes, by drawing more of it or keeping fewer of the other. */
  readonly oversample: number | null
  readonly undersample: number | null
}

/** As Ludwig balances a binary output: the rarer class drawn with repetition, or the commoner one thinned out. */
export const balanced = (
  samples: ReadonlyArray<Sample>,
  { oversample, undersample }: Balance,
  seed: number,
): ReadonlyArray<Sample> => {
  const of = (label: number) => samples.filter((s) => s.labels?.[0] === label)
  const [falses, trues] = [of(0), of(1)]
  const [minor, major] = falses.length < trues.length ? [falses, trues] : [trues, falses]
  if (minor.length === 0) return samples
  if (oversample !== null) {
    const count = Math.round(major.length * oversample)
    const drawn = Array.from(
      { length: count },
      (_, i) => minor[hash32(seed, 1, i) % minor.length] as Sample,
    )
    return [...drawn, ...major]
  }
  if (undersample === null) return samples
  const count = Math.min(major.length, Math.floor(minor.length / undersample))
  const kept = major
    .map((sample, i) => ({ sample, draw: hash32(seed, 2, i) }))
    .toSorted((a, b) => a.draw - b.draw)
    .slice(0, count)
    .map(({ sample }) => sample)
  return [...minor, ...kept]
}
