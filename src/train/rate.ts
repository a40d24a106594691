/** The learning rate in Ludwig's terms: its scheduler ticks once per micro-batch of `batch_size` samples. */
import type { Config } from '../config/schema/config.ts'
import { courseOf, warmsItself, type Course, type Span } from './course.ts'

export interface Rate extends Span {
  readonly learningRate: number
  readonly course: Course
}

/** `total` ticks with an evaluation every `interval`. */
export const rateOf = (
  { learning_rate: learningRate, learning_rate_scheduler: s }: Config['trainer'],
  { total, interval }: { readonly total: number; readonly interval: number },
): Rate => ({
  learningRate,
  course: courseOf(s, interval),
  warmup: warmsItself(s) ? 0 : Math.max(s.warmup_fraction * total, s.warmup_evaluations * interval),
  total,
})

/** The learning rate of an update at the 0-based index of the last tick of its group. */
export const rateAt = (r: Rate, tick: number): number =>
  tick < r.warmup
    ? (r.learningRate * tick) / Math.max(1, r.warmup)
    : r.course(tick - Math.ceil(r.warmup), r.learningRate, r)
