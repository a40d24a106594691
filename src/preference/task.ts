/** Learning from preferences: pairs, or labelled answers, against what the model made of them before. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session } from '../../backends/backend.ts'
import { sequencesOf } from '../../passes/prefer.ts'
import { packBatch, type Grid, type MicroBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Issue } from '../issue.ts'
import type { Fed, Task } from '../train/task.ts'
import { feedsOf } from './feeds.ts'
import type { Preference } from './preference.ts'
import type { References } from './references.ts'
import { divergenceOf } from './score.ts'
import { sumsOf, withOther, type Sums } from './sums.ts'
import { nothing, rewardMetrics, tallied, type Tally } from './tally.ts'

/** Tokens of the better answers and their prompts that have one before them. */
const likelihoodTokens = (samples: ReadonlyArray<Sample>): number =>
  samples.reduce((n, s) => n + s.prompt.length + s.target.length - 1, 0)

interface Learning {
  readonly p: Preference
  readonly grid: Grid
  readonly references: References
}

/** How far the model has moved on answers that belong to other prompts: of kto, over all samples together. */
const divergence = (
  { p, grid, references }: Learning,
  session: Session,
  samples: ReadonlyArray<Sample>,
): TE.TaskEither<Issue, number> =>
  p.loss._tag !== 'kto'
    ? TE.right(0)
    : pipe(
        sumsOf(session, grid, withOther(samples)),
        TE.map((sums) =>
          divergenceOf(
            sums.map((s) => s.nlls[0]!),
            samples.map((s) => references(s).other ?? 0),
          ),
        ),
      )

const perSample = (
  { p, references }: Learning,
  samples: ReadonlyArray<Sample>,
  nlls: (i: number) => ReadonlyArray<number>,
  kl: number,
): Tally => samples.reduce((t, s, i) => tallied(t, p, s, nlls(i), references(s).nlls, kl), nothing)

/** What a step's micro-steps say of its samples. */
const stepMetrics =
  (
    l: Learning,
    batches: ReadonlyArray<MicroBatch>,
    samples: ReadonlyArray<Sample>,
    kl: number,
  ): NonNullable<Fed['metrics']> =>
  (outs: ReadonlyArray<Feeds>) => {
    const each = sequencesOf(l.p.loss)
    const found = new Map<number, ReadonlyArray<number>>()
    batches.forEach((batch, b) =>
      batch.samples.forEach((index, n) => {
        const all = Array.from(outs[b]!['sequence_nll']!.slice(n * each, (n + 1) * each))
        found.set(index, all)
      }),
    )
    return rewardMetrics(perSample(l, samples, (i) => found.get(i)!, kl))
  }

const fed = (l: Learning, session: Session, samples: ReadonlyArray<Sample>) =>
  pipe(
    TE.Do,
    TE.apS('batches', TE.fromEither(packBatch(samples, l.grid))),
    TE.bind('kl', () => divergence(l, session, samples)),
    TE.map(({ batches, kl }): Fed => {
      const whole = { samples: samples.length, tokens: likelihoodTokens(samples), kl }
      const known = (s: Sample) => l.references(s).nlls
      return {
        scored: samples.length,
        tokens: batches.reduce((n, b) => n + b.tokensUsed, 0),
        micros: batches.map((b) => ({
          inputs: feedsOf(l.p, b, samples, known, whole),
          keys: b.keys,
          lengths: b.lengths,
          samples: b.samples,
        })),
        metrics: stepMetrics(l, batches, samples, kl),
      }
    }),
  )

/** The likelihood that orpo minimizes beside the odds. */
const likelihood = (l: Learning, samples: ReadonlyArray<Sample>, sums: ReadonlyArray<Sums>) =>
  l.grid.prompts === true ? sums.reduce((n, s) => n + s.whole, 0) / likelihoodTokens(samples) : 0

const measured =
  (l: Learning): Task['measure'] =>
  (session, samples, blame) =>
    pipe(
      TE.Do,
      TE.bind('sums', () => sumsOf(session, l.grid, samples)),
      TE.bind('kl', () => divergence(l, session, samples)),
      TE.chain(({ sums, kl }) => {
        const tally = perSample(l, samples, (i) => sums[i]!.nlls, kl)
        const loss = tally.loss / tally.samples + likelihood(l, samples, sums)
        // What is said of answers is said of those to be written.
        const good = sums.filter((_, i) => samples[i]!.desirable !== false)
        const of = (f: (s: Sums) => number): number => good.reduce((n, s) => n + f(s), 0)
        const texts = {
          token_accuracy: of((s) => s.correct) / of((s) => s.scored),
          sequence_accuracy: of((s) => (s.correct === s.scored ? 1 : 0)) / good.length,
        }
        return blame !== undefined && !Number.isFinite(loss)
          ? TE.left(blame(loss, samples))
          : TE.right({
              rows: samples.length,
              metrics: {
                loss,
                ...rewardMetrics(tally),
                ...(l.p.loss._tag === 'kto' ? { kl } : {}),
                ...(good.length > 0 ? texts : {}),
              },
            })
      }),
    )

/** Rows as a loss wants them filled. */
export const gridOf = (p: Preference, { rows, length }: Pick<Grid, 'rows' | 'length'>): Grid => ({
  rows,
  length,
  ...(p.loss._tag === 'orpo' ? { prompts: true } : {}),
})

/** `references`: what the model that training begins with makes of each sample. */
export const preferenceTask = (
  p: Preference,
  shapes: Pick<Grid, 'rows' | 'length'>,
  session: Session,
  references: References,
): Task => {
  const l = { p, grid: gridOf(p, shapes), references }
  return { feed: (samples) => fed(l, session, samples), measure: measured(l) }
}
