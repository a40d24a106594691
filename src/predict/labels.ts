/** Labels read out of answers: Ludwig's `category_extractor`. */
import type { CategoryOutput } from '../config/schema/outputs.ts'
import type { RowText } from '../data/samples.ts'
import { confusion, macroAccuracy, microAccuracy } from '../train/scores.ts'
import type { Column } from './column.ts'
import type { Predicted } from './predict.ts'

const fallbackOf = (f: CategoryOutput): string =>
  f.decoder.fallback_label ?? f.preprocessing.fallback_label

/**
 * The first label, in the order of `match`, whose words the answer holds, whatever their case; else the fallback.
 * Without `match` a label's own words are looked for.
 */
export const labelIn = (
  f: CategoryOutput,
  classes: ReadonlyArray<string>,
  text: string,
): string => {
  const matches = Object.entries(
    f.decoder.match ??
      Object.fromEntries(classes.map((c) => [c, { type: 'contains' as const, value: c }])),
  )
  const found = matches.find(([, { type, value }]) =>
    type === 'contains'
      ? value !== '' && text.toLowerCase().includes(value.toLowerCase())
      : new RegExp(value, 'i').test(text),
  )
  return found?.[0] ?? fallbackOf(f)
}

/** All labels there are: those of the data by how often they stand there, then those that the config names. */
export const classesOf = (
  f: CategoryOutput,
  texts: ReadonlyArray<Pick<RowText, 'target'>>,
): ReadonlyArray<string> => {
  const counts = new Map<string, number>()
  for (const { target } of texts)
    if (target !== null) counts.set(target.trim(), (counts.get(target.trim()) ?? 0) + 1)
  const named = [
    ...f.preprocessing.vocab,
    ...Object.keys(f.decoder.match ?? {}),
    ...(fallbackOf(f) === '' ? [] : [fallbackOf(f)]),
  ]
  const seen = [...counts].toSorted(([, a], [, b]) => b - a).map(([label]) => label)
  return [...new Set([...seen, ...named])]
}

export interface Labelled {
  readonly classes: ReadonlyArray<string>
  /** A label for each row. */
  readonly labels: ReadonlyArray<string>
  readonly metrics: Predicted['metrics']
  /** Over the rows that have a label; null: none has. */
  readonly matrix: ReadonlyArray<ReadonlyArray<number>> | null
}

/** The answers' labels, and how many of them are the data's. A label that nobody names counts as one more class. */
export const labelled = (
  f: CategoryOutput,
  texts: ReadonlyArray<RowText>,
  { rows }: Predicted,
): Labelled => {
  const known = classesOf(f, texts)
  const labels = rows.map((r) => labelIn(f, known, r.answer.text))
  const classes = [...new Set([...known, ...labels])]
  const told = rows.flatMap((r, i) => {
    const target = texts[r.row]?.target?.trim()
    return target === undefined ? [] : [{ target: classes.indexOf(target), label: labels[i]! }]
  })
  if (told.length === 0) return { classes, labels, metrics: {}, matrix: null }
  const matrix = confusion(
    classes.length,
    told.map((x) => x.target),
    told.map((x) => classes.indexOf(x.label)),
  )
  return {
    classes,
    labels,
    matrix,
    metrics: { accuracy: macroAccuracy(matrix), accuracy_micro: microAccuracy(matrix) },
  }
}

/** The label and the whole answer that it was read from. */
export const labelColumns = (
  out: string,
  { rows }: Predicted,
  { labels }: Labelled,
): ReadonlyArray<Column> => [
  { name: `${out}_predictions`, kind: 'text', values: labels },
  { name: `${out}_response`, kind: 'text', values: rows.map((r) => r.answer.text) },
]
