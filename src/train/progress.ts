/** How far a run has come, and all it remembers of the way: what a checkpoint keeps beside the tensors. */
import * as t from 'io-ts'
import { perplexity } from '../data/metrics.ts'
import {
  finite,
  higherIsBetter,
  impossible,
  measuredCodec,
  metricsOf,
  number,
  whole,
  type Measured,
  type Metrics,
} from './measured.ts'

const nullable = <C extends t.Mixed>(codec: C) => t.union([t.null, codec])

/** An object of these keys alone, of which the second may be missing: runs from before they were there go on. */
const with_ = <P extends t.Props, Q extends t.Props>(all: P, some: Q) =>
  t.readonly(t.exact(t.intersection([t.type(all), t.partial(some)])))

const evaluation = with_(
  {
    /** Optimizer steps, ticks and epochs (0-based, the one it fell in) so far. */
    step: whole,
    ticks: whole,
    epoch: whole,
    learningRate: finite,
    /** Mean loss per scored token of the steps since the last evaluation, as they were trained; NaN without any. */
    running: number,
    /** A pass over the training split, where asked for. */
    training: nullable(measuredCodec),
    /** Null without validation rows. */
    validation: nullable(measuredCodec),
  },
  {
    /** What else the steps since the last evaluation came to, as they were trained. */
    trained: t.record(t.string, number),
  },
)
export type Evaluation = t.TypeOf<typeof evaluation>

export const progressCodec = with_(
  {
    /** Optimizer steps that are over. */
    step: whole,
    /** Those that changed the weights: a step that overflows in f16 does not, and Adam does not count it. */
    applied: whole,
    /** Tokens of samples, padding apart. */
    tokens: whole,
    seconds: finite,
    /** Negative log-likelihood and scored tokens since the last evaluation. */
    lossSum: finite,
    scored: whole,
    history: t.readonlyArray(evaluation),
  },
  {
    /** Of each metric that steps have beside their loss, since the last evaluation: sum and weight. */
    sums: t.record(t.string, t.tuple([finite, finite])),
  },
)
export type Progress = t.TypeOf<typeof progressCodec>

export const beginning: Progress = {
  step: 0,
  applied: 0,
  tokens: 0,
  seconds: 0,
  lossSum: 0,
  scored: 0,
  history: [],
}

export type Sums = NonNullable<Progress['sums']>

/** Adds what a step of `weight` samples came to; a metric that is no number counts nowhere. */
export const summed = (
  sums: Sums | undefined,
  metrics: Readonly<Record<string, number>>,
  weight: number,
): Pick<Progress, 'sums'> => {
  const finites = Object.entries(metrics).filter(([, x]) => Number.isFinite(x))
  if (finites.length === 0) return sums === undefined ? {} : { sums }
  const more = finites.map(([name, x]): [string, [number, number]] => {
    const [sum, n] = sums?.[name] ?? [0, 0]
    return [name, [sum + weight * x, n + weight]]
  })
  return { sums: { ...sums, ...Object.fromEntries(more) } }
}

/** The means of it. */
export const trainedOf = ({ sums }: Progress): Pick<Evaluation, 'trained'> =>
  sums === undefined
    ? {}
    : {
        trained: Object.fromEntries(
          Object.entries(sums).map(([name, [sum, n]]) => [name, sum / n]),
        ),
      }

const ascending = (values: ReadonlyArray<number>): boolean =>
  values.every((v, i) => i === 0 || values[i - 1]! < v)

/** Why no run of `steps` optimizer steps can have come to this progress, or null. */
export const unsound = (p: Progress, steps: number): string | null => {
  const { step, applied, history } = p
  if (step > steps) return `it is after step ${step}, and the run has ${steps}`
  if (applied > step) return `${applied} of ${step} steps changed the weights`
  if (p.seconds < 0) return `it has taken ${p.seconds} seconds`
  if (!ascending(history.map((e) => e.step)) || !ascending(history.map((e) => e.ticks)))
    return 'its evaluations are not in order'
  const last = history.at(-1)
  if (last !== undefined && last.step > step)
    return `it is after step ${step}, and was evaluated after step ${last.step}`
  return history.some((e) => impossible(e.training) || impossible(e.validation))
    ? 'an evaluation has more right than there are'
    : null
}

const valueOf = (metric: string, measured: Measured | null): number =>
  measured === null ? NaN : (metricsOf(measured)[metric] ?? NaN)

/** Index of the best evaluation, the earlier of equals; null while none has a value. A NaN never wins. */
export const bestOf = (history: ReadonlyArray<Evaluation>, metric: string): number | null => {
  const sign = higherIsBetter(metric) ? 1 : -1
  let best: { readonly index: number; readonly value: number } | null = null
  for (const [index, { validation }] of history.entries()) {
    const value = sign * valueOf(metric, validation)
    if (Number.isFinite(value) && (best === null || value > best.value)) best = { index, value }
  }
  return best === null ? null : best.index
}

/** Evaluations in a row, up to now, that were no improvement; 0 without validation rows. */
export const sinceBest = (history: ReadonlyArray<Evaluation>, metric: string): number =>
  history.some((e) => e.validation !== null)
    ? history.length - 1 - (bestOf(history, metric) ?? -1)
    : 0

/** What is known of the training split at an evaluation: a pass over it, or the loss while training, of text with what follows from it. */
export const runningMetrics = (
  { training, running, trained }: Evaluation,
  ofText: boolean,
): Partial<Metrics> =>
  training !== null
    ? metricsOf(training)
    : {
        loss: running,
        ...trained,
        ...(ofText && trained === undefined
          ? { perplexity: perplexity(running), next_token_perplexity: perplexity(running) }
          : {}),
      }
