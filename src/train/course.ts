/** How the learning rate goes after warm-up: Ludwig's decays, each as torch would compute it. */
import type { Config } from '../config/schema/config.ts'

type Scheduler = Config['trainer']['learning_rate_scheduler']

/** Ticks of a run, and those of its warm-up, not necessarily whole. */
export interface Span {
  readonly total: number
  readonly warmup: number
}

/** What the learning rate is `t` ticks after the course begins. */
export type Course = (t: number, lr: number, span: Span) => number

/** Where a factor says all of it. */
const factor =
  (f: (t: number, span: Span) => number): Course =>
  (t, lr, span) =>
    lr * f(t, span)

const constant: Course = (_, lr) => lr

const linear = factor((t, { total, warmup }) => {
  const rest = total - warmup
  return Math.max(0, (rest - t) / Math.max(1, rest))
})

/** torch's CosineAnnealingWarmRestarts: periods of `period` ticks, each `mult` times the one before. */
export const cosine =
  ({ period, mult, least }: Readonly<Record<'period' | 'mult' | 'least', number>>): Course =>
  (t, lr) => {
    let [at, of] = [t, period]
    while (at >= of) {
      at -= of
      of *= mult
    }
    return least + ((lr - least) * (1 + Math.cos((Math.PI * at) / of))) / 2
  }

/** Begins one `decay_rate` below the learning rate, as Ludwig's does. */
const exponential = (s: Scheduler): Course =>
  factor((t) => {
    const exponent = 1 + t / s.decay_steps
    return s.decay_rate ** (s.staircase ? Math.ceil(exponent) : exponent)
  })

/** Not relative to its peak: with the default of 4000 steps a run begins at a 63rd of the learning rate. */
const inverseSqrt = (s: Scheduler): Course =>
  factor((t) => 1 / Math.sqrt(Math.max(t, s.inverse_sqrt_warmup_steps)))

/** Ludwig takes warm-up off ticks that are counted from its end: the course begins above 1 and ends before its end. */
const polynomial = (s: Scheduler): Course =>
  factor((t, { total, warmup }) => {
    if (total <= warmup) return 1
    const progress = Math.min(1, (t - warmup) / Math.max(1, total - warmup))
    const end = s.polynomial_end_lr
    return (1 - end) * (1 - progress) ** s.polynomial_power + end
  })

/** Warm-up, a plain, and half a cosine to 0 over what is left. */
const wsd = (s: Scheduler): Course =>
  factor((t, { total }) => {
    const warm = s.wsd_warmup_fraction * total
    const stable = warm + s.wsd_stable_fraction * total
    if (t < warm) return t / Math.max(1, warm)
    if (t < stable) return 1
    const progress = Math.min(1, (t - stable) / Math.max(1, total - stable))
    return (1 + Math.cos(Math.PI * progress)) / 2
  })

/** torch's OneCycleLR: up to the greatest rate by half a cosine, and down to next to nothing by another. */
const oneCycle =
  (s: Scheduler): Course =>
  (t, lr, { total }) => {
    const most = s.max_lr ?? lr
    const first = most / s.div_factor
    const peak = s.pct_start * total - 1
    const anneal = (from: number, to: number, share: number): number =>
      to + ((from - to) / 2) * (Math.cos(Math.PI * share) + 1)
    return t <= peak
      ? anneal(first, most, peak === 0 ? 1 : t / peak)
      : anneal(most, first / s.final_div_factor, (t - peak) / Math.max(total - 1 - peak, 1e-9))
  }

/** `interval`: ticks between evaluations. */
export const courseOf = (s: Scheduler, interval: number): Course => {
  switch (s.decay) {
    case null:
    case 'constant':
      return constant
    case 'linear':
      return linear
    case 'cosine':
      return cosine({ period: s.t_0 ?? interval, mult: s.t_mult, least: s.eta_min })
    case 'exponential':
      return exponential(s)
    case 'inverse_sqrt':
      return inverseSqrt(s)
    case 'polynomial':
      return polynomial(s)
    case 'wsd':
      return wsd(s)
    case 'one_cycle':
      return oneCycle(s)
  }
}

/** Decays with a warm-up of their own: those of Ludwig's `warmup_*` keys are ignored. */
export const warmsItself = (s: Pick<Scheduler, 'decay'>): boolean =>
  s.decay === 'wsd' || s.decay === 'one_cycle'
