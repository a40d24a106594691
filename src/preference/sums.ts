/** Sequences put to the model as it is: what each comes to. */
import * as E from 'fp-ts/lib/Either.js'
import type * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { packBatch, unscored, type Grid, type MicroBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Issue } from '../issue.ts'
import { call } from '../train/problem.ts'
import type { Nlls } from './score.ts'

/** Of a sample. */
export interface Sums {
  /** Negative log-likelihood of each sequence. */
  readonly nlls: Nlls
  /** The first sequence's tokens that are the likeliest. */
  readonly correct: number
  readonly scored: number
  /** Negative log-likelihood of the first sequence with its prompt, where that is scored. */
  readonly whole: number
}

interface Open {
  readonly nlls: number[]
  correct: number
  scored: number
  whole: number
}

/** `each`: sequences of a sample. */
const ofBatch = (
  batch: MicroBatch,
  each: number,
  owners: Int32Array,
  nll: ArrayLike<number>,
  argmax: ArrayLike<number>,
): ReadonlyArray<Sums> => {
  const open = batch.samples.map((): Open => ({
    nlls: Array.from({ length: each }, () => 0),
    correct: 0,
    scored: 0,
    whole: 0,
  }))
  batch.targets.forEach((target, i) => {
    if (target === unscored) return
    const sequence = batch.sequences[i]!
    const own = open[sequence < 0 ? owners[i]! : Math.floor(sequence / each)]!
    const first = sequence < 0 || sequence % each === 0
    if (first) own.whole += nll[i]!
    if (sequence < 0) return
    own.nlls[sequence % each]! += nll[i]!
    if (!first) return
    own.scored += 1
    own.correct += argmax[i] === target ? 1 : 0
  })
  return open
}

/** The sample of each place: a prompt's sequence is the next one that is scored. */
const ownersOf = ({ targets, sequences }: MicroBatch, each: number): Int32Array => {
  const owners = new Int32Array(targets.length)
  let next = 0
  for (let i = targets.length - 1; i >= 0; i--) {
    if (sequences[i]! >= 0) next = Math.floor(sequences[i]! / each)
    owners[i] = next
  }
  return owners
}

/** In the order of the samples. Left: a backend's error, or a sample that does not fit. */
export const sumsOf =
  (
    session: Session,
    grid: Grid,
    samples: ReadonlyArray<Sample>,
  ): TE.TaskEither<Issue, ReadonlyArray<Sums>> =>
  async () => {
    const packed = packBatch(samples, grid)
    if (E.isLeft(packed)) return packed
    const each = samples[0]?.rejected === undefined ? 1 : 2
    const found: Sums[] = []
    for (const batch of packed.right) {
      const { tokens, positions, segments, targets } = batch
      const ran = await call(session.run('evaluate', { tokens, positions, segments, targets }))()
      if (E.isLeft(ran)) return ran
      const { nll, argmax } = ran.right
      ofBatch(batch, each, ownersOf(batch, each), nll!, argmax!).forEach((sums, n) => {
        found[batch.samples[n]!] = sums
      })
    }
    return E.right(found)
  }

/** The same prompts with answers that belong to others. */
export const withOther = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> =>
  samples.flatMap(({ row, prompt, other }) =>
    other === undefined ? [] : [{ row, prompt, target: other }],
  )
