/** The arithmetic of preferences over whole sequences, in f64: what a program is fed with, and what an evaluation says. */
import type { Prefer } from '../../passes/index.ts'
import type { Sample } from '../data/samples.ts'
import type { Preference } from './preference.ts'

/** Negative log-likelihoods of a sample's sequences. */
export type Nlls = ReadonlyArray<number>

const scored = (prompt: ReadonlyArray<number>, answer: ReadonlyArray<number>): number =>
  Math.min(answer.length, prompt.length + answer.length - 1)

/** Scored tokens of each sequence. */
export const lengthsOf = ({ prompt, target, rejected }: Sample): ReadonlyArray<number> =>
  [target, ...(rejected === undefined ? [] : [rejected])].map((a) => scored(prompt, a))

const normalized = (o: Prefer): boolean =>
  o._tag === 'orpo' || (o._tag === 'dpo' && (o.link === 'ipo' || o.link === 'sigmoid_norm'))

/** What each sequence's negative log-likelihood (of orpo: log-odds) is multiplied by in its sample's margin. */
export const coefficientsOf = (o: Prefer, s: Sample): ReadonlyArray<number> => {
  if (o._tag === 'kto') return [s.desirable === true ? -1 : 1]
  if (o._tag === 'orpo') return [1, -1]
  const [good, bad] = normalized(o) ? lengthsOf(s) : [1, 1]
  return [-1 / good!, 1 / bad!]
}

/** What a margin is besides: the reference's part, and of kto the divergence. */
export const offsetOf = (o: Prefer, s: Sample, reference: Nlls, kl: number): number => {
  if (o._tag === 'orpo') return 0
  const own = coefficientsOf(o, s).reduce((n, c, i) => n - c * reference[i]!, 0)
  return o._tag === 'kto' ? own + coefficientsOf(o, s)[0]! * kl : own
}

const logOdds = (x: number): number => -x - Math.log(-Math.expm1(-x))

/** How much better the good answer stands; of kto, how far the answer is on its side of the divergence. */
export const marginOf = (o: Prefer, s: Sample, nlls: Nlls, reference: Nlls, kl: number): number => {
  const lengths = lengthsOf(s)
  const parts = o._tag === 'orpo' ? nlls.map((x, i) => logOdds(x / lengths[i]!)) : nlls
  return coefficientsOf(o, s).reduce((n, c, i) => n + c * parts[i]!, offsetOf(o, s, reference, kl))
}

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))

/** The loss of a margin. */
export const lossOf = (o: Prefer, margin: number): number => {
  if (o._tag === 'orpo') return o.beta * softplus(-margin)
  const x = o.beta * margin
  if (o._tag === 'kto') return 1 / (1 + Math.exp(x))
  const { smoothing: e } = o
  switch (o.link) {
    case 'sigmoid':
    case 'sigmoid_norm':
      return (1 - e) * softplus(-x) + e * softplus(x)
    case 'robust':
      return ((1 - e) * softplus(-x) - e * softplus(x)) / (1 - 2 * e)
    case 'hinge':
      return Math.max(0, 1 - x)
    case 'ipo':
      return (margin - 1 / (2 * o.beta)) ** 2
  }
}

/** Of each sequence, without its gradient's normalization: β times what training has made of its log-likelihood. */
export const rewardsOf = (o: Prefer, s: Sample, nlls: Nlls, reference: Nlls): Nlls => {
  const lengths = lengthsOf(s)
  return nlls.map((x, i) =>
    o._tag === 'orpo' ? (-o.beta * x) / lengths[i]! : o.beta * (reference[i]! - x),
  )
}

/** The weight of a sample's loss beside 1 / samples. */
export const weightOf = (p: Preference, s: Sample): number =>
  s.desirable === undefined ? 1 : s.desirable ? p.desirable : p.undesirable

/** Mean of what training has made of answers that belong to other prompts, at least 0. */
export const divergenceOf = (
  nlls: ReadonlyArray<number>,
  reference: ReadonlyArray<number>,
): number =>
  nlls.length === 0
    ? 0
    : Math.max(0, nlls.reduce((n, x, i) => n + reference[i]! - x, 0) / nlls.length)
