/**
 * Preference losses: the likelihood that a step minimizes becomes a function of how much likelier the model makes good
 * answers than bad ones. Losses of tokens are summed by sequence, sequences by pair, and a link makes a loss of the margin.
 */
import * as E from 'fp-ts/lib/Either.js'
import { building, type Builder } from '../ir/build.ts'
import type { Fn, Id, Program } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { broken } from '../ir/reason.ts'
import { size, tensor } from '../ir/type.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'
import { pruned } from './simplify.ts'

export type Link = 'sigmoid' | 'robust' | 'hinge' | 'ipo' | 'sigmoid_norm'

export type Prefer =
  | {
      /** Rafailov et al. 2023. */
      readonly _tag: 'dpo'
      readonly link: Link
      readonly beta: number
      /** Share of pairs that are taken to be the wrong way round. */
      readonly smoothing: number
    }
  /** Ethayarajh et al. 2024. */
  | { readonly _tag: 'kto'; readonly beta: number }
  /** Hong et al. 2024. */
  | { readonly _tag: 'orpo'; readonly beta: number }

/** Sequences of one sample: a pair, or an answer alone. */
export const sequencesOf = (o: Pick<Prefer, '_tag'>): number => (o._tag === 'kto' ? 1 : 2)

/** Samples that a grid of tokens may hold: a sequence has two tokens at least. */
export const mostSamples = (o: Pick<Prefer, '_tag'>, tokens: number): number =>
  Math.max(1, Math.floor(tokens / (2 * sequencesOf(o))))

/** −ln σ(x). */
const surprise = (b: Builder, x: Id): Id => b.alg.softplus(b.alg.scale(-1, x))

const square = (b: Builder, x: Id): Id => b.alg.mul(x, x)

/** `by` less x. */
const less = (b: Builder, by: number, x: Id): Id => b.alg.sub(b.alg.fill(by, b.typeOf(x)), x)

/** With smoothing ε: (1 − ε)·right + sign·ε·wrong. */
const smoothed = (b: Builder, x: Id, smoothing: number, sign: 1 | -1): Id =>
  smoothing === 0
    ? surprise(b, x)
    : b.alg.add(
        b.alg.scale(1 - smoothing, surprise(b, x)),
        b.alg.scale(sign * smoothing, b.alg.softplus(x)),
      )

/** The loss of each margin. */
const lossOf = (b: Builder, o: Prefer, margin: Id): Id => {
  const { alg } = b
  if (o._tag === 'orpo') return alg.scale(o.beta, surprise(b, margin))
  const x = alg.scale(o.beta, margin)
  if (o._tag === 'kto') return alg.sigmoid(alg.scale(-1, x))
  switch (o.link) {
    case 'sigmoid':
    case 'sigmoid_norm':
      return smoothed(b, x, o.smoothing, 1)
    case 'robust':
      return alg.scale(1 / (1 - 2 * o.smoothing), smoothed(b, x, o.smoothing, -1))
    case 'hinge': {
      const short = less(b, 1, x)
      return alg.mul(short, alg.positive(short))
    }
    case 'ipo':
      return square(b, less(b, 1 / (2 * o.beta), margin))
  }
}

/** Of a pair, by what the caller gives of each sequence; nothing is read where a sample is missing but its weight of 0. */
const objective = (b: Builder, o: Prefer, nll: Id): { readonly loss: Id; readonly sums: Id } => {
  const { alg } = b
  const tokens = size(b.typeOf(nll))
  const count = mostSamples(o, tokens)
  const sequences = count * sequencesOf(o)
  const vector = (name: string, n: number): Id => b.input(name, tensor('f32', n))
  const sums = alg.segmentSum(sequences, nll, b.input('sequences', tensor('i32', tokens)))
  const pairs = b.input('pairs', tensor('i32', sequences))
  const scaled = (x: Id): Id => alg.mul(x, vector('coefficients', sequences))
  const weights = vector('weights', count)
  const weighed = (margin: Id): Id => alg.sum(alg.mul(lossOf(b, o, margin), weights))
  if (o._tag === 'orpo') {
    // A sequence that is none is given a mean of 1: the odds of certainty are infinite.
    const mean = alg.add(alg.mul(sums, vector('shares', sequences)), vector('shifts', sequences))
    const odds = alg.segmentSum(count, scaled(alg.logOdds(mean)), pairs)
    const likelihood = alg.sum(alg.mul(nll, vector('token_weights', tokens)))
    return { loss: alg.add(likelihood, weighed(odds)), sums }
  }
  const policy = alg.segmentSum(count, scaled(sums), pairs)
  return { loss: weighed(alg.add(policy, vector('offsets', count))), sums }
}

const preferring = (f: Fn, p: Program, o: Prefer): Fn => {
  let nll: Id | null = null
  const rule: Rule = ({ eqn, args, b }) => {
    if (eqn.op !== 'linearCrossEntropy') return null
    const outs = copy(b, eqn, args)
    nll = outs[0]!
    return outs
  }
  return pruned(
    rebuild(f, stateOf(p), rule, (b, now) => {
      const { loss, sums } = b.at({ scope: 'loss' }, () => objective(b, o, nll!))
      return {
        outs: [
          ...f.outs.map((x) => ({ ...x, id: x.name === f.minimizes ? loss : now(x.id) })),
          { name: 'sequence_nll', id: sums },
        ],
      }
    }),
  )
}

const isLikelihood = (f: Fn): boolean =>
  f.minimizes !== undefined && f.eqns.some((e) => e.op === 'linearCrossEntropy')

const words = (o: Prefer): string =>
  o._tag === 'dpo'
    ? `dpo ${o.link}, beta=${o.beta}${o.smoothing === 0 ? '' : `, smoothing=${o.smoothing}`}`
    : `${o._tag}, beta=${o.beta}`

export const prefer = (o: Prefer): Pass => ({
  name: `prefer(${words(o)})`,
  keeps: 'meaning',
  run: (p) =>
    p.fns.some(isLikelihood)
      ? building((): Program => ({
          ...p,
          fns: p.fns.map((f) => (isLikelihood(f) ? preferring(f, p, o) : f)),
        }))
      : E.left(broken('some function minimizes the negative log-likelihood of its targets')),
  promise: (p) =>
    p.fns.some((f) => f.minimizes !== undefined && f.inputs.some((i) => i.name === 'sequences'))
      ? null
      : 'what is minimized is a loss of sequences',
})
