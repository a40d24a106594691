/** From a head's logits to what it predicts, how sure it is, and how good that is. */
import type { Target } from '../data/targets.ts'
import type { Metrics } from './measured.ts'
import {
  confusion,
  errorsOf,
  hitsAt,
  macroAccuracy,
  macroAuc,
  microAccuracy,
  rocAuc,
  softmax,
} from './scores.ts'
import { lossShares } from './weights.ts'

/** A row as one head sees it. */
export interface Predicted {
  /** The label, or the number in its own unit. */
  readonly value: string | number
  /** Of each class in their order; a number has none. */
  readonly probabilities: ReadonlyArray<number> | null
}

/** Probabilities of classes; the first of two has the logit 0. */
const probabilitiesOf = (t: Target, logits: ReadonlyArray<number>): ReadonlyArray<number> =>
  softmax(t.kind === 'binary' ? [0, logits[0]!] : logits)

const likeliest = (p: ReadonlyArray<number>): number =>
  p.reduce((best, x, c) => (x > p[best]! ? c : best), 0)

const classOf = (t: Target, p: ReadonlyArray<number>): number =>
  t.kind === 'binary' ? Number(p[1]! >= t.of.threshold) : likeliest(p)

export const predictedOf = (t: Target, logits: ReadonlyArray<number>): Predicted => {
  if (t.kind === 'number') return { value: logits[0]! * t.scale + t.shift, probabilities: null }
  const probabilities = probabilitiesOf(t, logits)
  return { value: t.classes[classOf(t, probabilities)]!, probabilities }
}

/** Of one head over a split; `matrix` where it has classes. */
export interface HeadScores {
  readonly metrics: Metrics
  readonly matrix: ReadonlyArray<ReadonlyArray<number>> | null
}

const classScores = (
  t: Exclude<Target, { readonly kind: 'number' }>,
  logits: ReadonlyArray<ReadonlyArray<number>>,
  labels: ReadonlyArray<number>,
): HeadScores => {
  const p = logits.map((l) => probabilitiesOf(t, l))
  const matrix = confusion(
    t.classes.length,
    labels,
    p.map((row) => classOf(t, row)),
  )
  const loss = lossShares(t, labels).reduce(
    (s, shares, i) =>
      s - shares.reduce((a, w, c) => (w === 0 ? a : a + w * Math.log(p[i]![c]!)), 0),
    0,
  )
  if (t.kind === 'category')
    return {
      matrix,
      metrics: {
        loss,
        accuracy: macroAccuracy(matrix),
        accuracy_micro: microAccuracy(matrix),
        ...(t.classes.length > t.of.top_k ? { hits_at_k: hitsAt(t.of.top_k, p, labels) } : {}),
        roc_auc: macroAuc(p, labels, t.classes.length),
      },
    }
  const [[, wrong], [missed, right]] = matrix as readonly [
    readonly [number, number],
    readonly [number, number],
  ]
  return {
    matrix,
    metrics: {
      loss,
      accuracy: microAccuracy(matrix),
      roc_auc: rocAuc(
        p.map((x) => x[1]!),
        labels.map((l) => l === 1),
      ),
      precision: right / (right + wrong),
      recall: right / (right + missed),
    },
  }
}

export const headScores = (
  t: Target,
  logits: ReadonlyArray<ReadonlyArray<number>>,
  labels: ReadonlyArray<number>,
): HeadScores => {
  if (t.kind !== 'number') return classScores(t, logits, labels)
  const errors = errorsOf(
    logits.map((l) => l[0]! * t.scale + t.shift),
    labels,
  )
  return { matrix: null, metrics: { loss: errors.mean_squared_error / t.scale ** 2, ...errors } }
}

/** Those of every head under its feature's name, and the loss of all. */
export const together = (all: ReadonlyArray<readonly [Target, HeadScores]>): Metrics => ({
  loss: all.reduce((s, [t, { metrics }]) => s + t.of.loss.weight * metrics.loss, 0),
  ...Object.fromEntries(
    all.flatMap(([t, { metrics }]) =>
      Object.entries(metrics).map(([name, x]) => [`${t.of.name}.${name}`, x]),
    ),
  ),
})
