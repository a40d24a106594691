/** `reduce_on_plateau`: torch's ReduceLROnPlateau as Ludwig caps and applies it. What it knows follows from the evaluations alone. */
import type { Config } from '../config/schema/config.ts'
import { higherIsBetter, metricsOf } from './measured.ts'
import { runningMetrics, type Evaluation } from './progress.ts'

type Scheduler = Config['trainer']['learning_rate_scheduler']

/** A metric has to improve by this share to count. */
const THRESHOLD = 1e-4
/** A smaller change of the learning rate is not made. */
const LEAST = 1e-8

const valueOf = (s: Scheduler, e: Evaluation): number =>
  (s.reduce_eval_split === 'training'
    ? runningMetrics(e, true)[s.reduce_eval_metric]
    : e.validation === null
      ? undefined
      : metricsOf(e.validation)[s.reduce_eval_metric]) ?? NaN

/** Ticks that were over when the learning rate was reduced, each time. */
export const reductionsOf = (
  s: Scheduler,
  history: ReadonlyArray<Evaluation>,
): ReadonlyArray<number> => {
  const higher = higherIsBetter(s.reduce_eval_metric)
  const reductions: number[] = []
  let [best, bad] = [higher ? -Infinity : Infinity, 0]
  for (const e of history) {
    if (reductions.length >= s.reduce_on_plateau) break
    const value = valueOf(s, e)
    const better = higher ? value > best * (1 + THRESHOLD) : value < best * (1 - THRESHOLD)
    ;[best, bad] = better ? [value, 0] : [best, bad + 1]
    if (bad <= s.reduce_on_plateau_patience) continue
    reductions.push(e.ticks)
    bad = 0
  }
  return reductions
}

const lowered = (s: Scheduler, lr: number, times: number): number => {
  const to = lr * s.reduce_on_plateau_rate ** times
  return lr - to > LEAST ? to : lr
}

/** Ludwig reduces once more at the very tick of a second or later reduction: all of them upon those that were in force. */
export const reduced = (
  s: Scheduler,
  reductions: ReadonlyArray<number>,
  tick: number,
  lr: number,
): number => {
  const before = reductions.filter((r) => r < tick).length
  const now = lowered(s, lr, before)
  return reductions.includes(tick) ? lowered(s, now, before + 1) : now
}
