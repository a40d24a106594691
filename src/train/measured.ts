/** What an evaluation found, however the model was asked: what checkpoints keep, and the metrics read off it. */
import * as t from 'io-ts'
import {
  addCounts,
  meanLoss,
  noTokens,
  perplexity,
  tokenAccuracy,
  type TokenCounts,
} from '../data/metrics.ts'

/** Sums over the scored tokens of texts. */
export interface Counts extends TokenCounts {
  readonly sequences: number
  /** Samples whose scored tokens are all right under teacher forcing. */
  readonly sequencesRight: number
}

/** Metrics that are no sums: over labels, ranks, pairs. */
export interface Scores {
  /** Samples that were looked at. */
  readonly rows: number
  /** By name, `feature.metric` where a feature has it; `loss` always. */
  readonly metrics: Metrics
}

export type Measured = Counts | Scores

/** Loss in nats per scored token or sample; accuracies from 0 to 1. */
export interface Metrics {
  readonly loss: number
  readonly [name: string]: number
}

/** What a text is measured by: Ludwig's names with the values they promise. */
export const textMetrics = [
  'loss',
  'perplexity',
  'next_token_perplexity',
  'token_accuracy',
  'sequence_accuracy',
] as const

const rising = /(^|[._])(accuracy(_micro)?|accuracies|margins?|roc_auc|hits_at_k|r2)$/

/** Which of two values of a metric is better. */
export const higherIsBetter = (metric: string): boolean => rising.test(metric)

const ofText = (c: Counts): Metrics => {
  const loss = meanLoss(c)
  return {
    loss,
    perplexity: perplexity(loss),
    next_token_perplexity: perplexity(loss),
    token_accuracy: tokenAccuracy(c),
    sequence_accuracy: c.sequencesRight / c.sequences,
  }
}

export const metricsOf = (m: Measured): Metrics => ('metrics' in m ? m.metrics : ofText(m))

export const noCounts: Counts = { ...noTokens, sequences: 0, sequencesRight: 0 }

export const add = (a: Counts, b: Counts): Counts => ({
  ...addCounts(a, b),
  sequences: a.sequences + b.sequences,
  sequencesRight: a.sequencesRight + b.sequencesRight,
})

/** What counts something: a whole number of at least 0 that a double holds exactly. */
export const whole = t.refinement(
  t.number,
  (n) => Number.isSafeInteger(n) && n >= 0,
  'a whole number',
)

/** Finite: JSON can say 1e999, which is Infinity. */
export const finite = t.refinement(t.number, Number.isFinite, 'a finite number')

/** JSON has no NaN: null stands for it. */
export const number = new t.Type<number, number | null, unknown>(
  'a number',
  t.number.is,
  (u, c) => (u === null ? t.success(NaN) : finite.validate(u, c)),
  (n) => (Number.isFinite(n) ? n : null),
)

const counts = t.readonly(
  t.strict({
    lossSum: number,
    correct: whole,
    scored: whole,
    sequences: whole,
    sequencesRight: whole,
  }),
)

const metrics = t.intersection([t.type({ loss: number }), t.record(t.string, number)])

const scores = t.readonly(t.strict({ rows: whole, metrics }))

export const measuredCodec = t.union([counts, scores])

/** More right than there are. */
export const impossible = (m: Measured | null): boolean =>
  m !== null &&
  ('metrics' in m
    ? Object.entries(m.metrics).some(([name, x]) => /accuracy/.test(name) && (x < 0 || x > 1))
    : m.correct > m.scored || m.sequencesRight > m.sequences || m.sequences > m.scored)
