/** The learning rate in Ludwig's terms: its scheduler ticks once per micro-batch of `batch_size` samples. */
import type { Config } from '../config/schema/config.ts'

export interface Rate {
  readonly learningRate: number
  readonly decay: 'linear' | 'cosine' | 'constant'
  /** Ticks of warm-up, not necessarily whole. */
  readonly warmup: number
  /** Ticks of the whole run. */
  readonly total: number
  /** Ticks of the first cosine period; each is `mult` times as long as the one before. */
  readonly period: number
  readonly mult: number
  /** The learning rate at the end of a cosine period. */
  readonly least: number
}

/** `total` ticks with an evaluation every `interval`. */
export const rateOf = (
  { learning_rate: learningRate, learning_rate_scheduler: s }: Config['trainer'],
  { total, interval }: { readonly total: number; readonly interval: number },
): Rate => ({
  learningRate,
  decay: s.decay ?? 'constant',
  warmup: Math.max(s.warmup_fraction * total, s.warmup_evaluations * interval),
  total,
  period: s.t_0 ?? interval,
  mult: s.t_mult,
  least: s.eta_min,
})

/** torch's CosineAnnealingWarmRestarts, `t` ticks after warm-up. */
const cosine = (r: Rate, t: number): number => {
  let [at, of] = [t, r.period]
  while (at >= of) {
    at -= of
    of *= r.mult
  }
  return r.least + ((r.learningRate - r.least) * (1 + Math.cos((Math.PI * at) / of))) / 2
}

/** The learning rate of an update at the 0-based index of the last tick of its group. */
export const rateAt = (r: Rate, tick: number): number => {
  if (tick < r.warmup) return (r.learningRate * tick) / Math.max(1, r.warmup)
  const t = tick - Math.ceil(r.warmup)
  switch (r.decay) {
    case 'constant':
      return r.learningRate
    case 'linear': {
      const rest = r.total - r.warmup
      return r.learningRate * Math.max(0, (rest - t) / Math.max(1, rest))
    }
    case 'cosine':
      return cosine(r, t)
  }
}
