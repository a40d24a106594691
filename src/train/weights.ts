/** Labels as targets of a loss that is a sum: weights of classes that make it the mean that it should be. */
import type { Target } from '../data/targets.ts'

type Classes = Exclude<Target, { readonly kind: 'number' }>

const classWeight = (t: Classes, label: number): number =>
  t.kind === 'binary'
    ? label === 1
      ? (t.of.loss.positive_class_weight ?? 1)
      : 1
    : (t.of.loss.class_weights?.[t.classes[label]!] ?? 1)

/**
 * For each row the weight of every class in Σ weight·−ln p, so that the sum over the rows is torch's CrossEntropyLoss
 * (with label smoothing, weighted mean) or, of two classes, its BCEWithLogitsLoss (`pos_weight`, plain mean).
 */
export const lossShares = (
  t: Classes,
  labels: ReadonlyArray<number>,
): ReadonlyArray<ReadonlyArray<number>> => {
  const n = t.classes.length
  const smoothing = t.of.loss.label_smoothing
  const weights = t.classes.map((_, c) => classWeight(t, c))
  // Where every row weighs nothing there is nothing to learn, and no mean.
  const all =
    t.kind === 'binary' ? labels.length : labels.reduce((s, label) => s + weights[label]!, 0)
  return labels.map((label) =>
    weights.map((w, c) => (w * ((c === label ? 1 - smoothing : 0) + smoothing / n)) / (all || 1)),
  )
}
