/** The inputs of a micro-step that weighs sequences against each other. */
import type { Feeds } from '../../backends/backend.ts'
import { mostSamples, sequencesOf } from '../../passes/prefer.ts'
import { unscored, type MicroBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Preference } from './preference.ts'
import { coefficientsOf, lengthsOf, offsetOf, weightOf, type Nlls } from './score.ts'

/** What holds for all micro-steps of an optimizer step. */
export interface Whole {
  readonly samples: number
  /** Of orpo: tokens whose likelihood counts. */
  readonly tokens: number
  /** Of kto. */
  readonly kl: number
}

/** Places of good answers and their prompts: of a sample's sequences the first. */
const likelihood = ({ targets, sequences }: MicroBatch, tokens: number): Float32Array =>
  Float32Array.from(targets, (target, i) =>
    target === unscored || sequences[i]! % 2 === 1 ? 0 : 1 / tokens,
  )

export const feedsOf = (
  p: Preference,
  batch: MicroBatch,
  samples: ReadonlyArray<Sample>,
  references: (s: Sample) => Nlls,
  whole: Whole,
): Feeds => {
  const { tokens, positions, segments, targets, sequences } = batch
  const each = sequencesOf(p.loss)
  const count = mostSamples(p.loss, tokens.length)
  const ofSequences = { coefficients: new Float32Array(count * each) }
  const ofSamples = { offsets: new Float32Array(count), weights: new Float32Array(count) }
  const pairs = new Int32Array(count * each).fill(-1)
  const shares = new Float32Array(count * each)
  const shifts = new Float32Array(count * each).fill(1)
  batch.samples.forEach((index, n) => {
    const s = samples[index]!
    ofSamples.offsets[n] = offsetOf(p.loss, s, references(s), whole.kl)
    ofSamples.weights[n] = weightOf(p, s) / whole.samples
    const lengths = lengthsOf(s)
    coefficientsOf(p.loss, s).forEach((c, k) => {
      const at = n * each + k
      pairs[at] = n
      ofSequences.coefficients[at] = c
      shares[at] = 1 / lengths[k]!
      shifts[at] = 0
    })
  })
  const common = { tokens, positions, segments, targets, sequences, pairs, ...ofSequences }
  return p.loss._tag === 'orpo'
    ? {
        ...common,
        weights: ofSamples.weights,
        shares,
        shifts,
        token_weights: likelihood(batch, whole.tokens),
      }
    : { ...common, ...ofSamples }
}
