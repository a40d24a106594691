/** Learns to predict labels and numbers: packed texts and where their vectors come from, or vectors that are there already. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session } from '../../backends/backend.ts'
import { packBatch, type MicroBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Target } from '../data/targets.ts'
import type { Issue } from '../issue.ts'
import { perRow, samplesOf, targetWidth, type Head, type Labels } from '../models/labels.ts'
import type { Shapes } from '../models/llama.ts'
import type { Blame } from './evaluate.ts'
import { headScores, together, type HeadScores } from './predicted.ts'
import { call } from './problem.ts'
import type { Fed, Micro, Task } from './task.ts'
import { lossShares } from './weights.ts'

export interface LabelJob {
  readonly labels: Labels
  readonly targets: ReadonlyArray<Target>
  readonly shapes: Pick<Shapes, 'rows' | 'length'>
  /** One vector a row of the table, where they were computed before. */
  readonly embeddings?: ReadonlyMap<number, Float32Array>
}

/** Inputs of a micro-step but for targets, and the samples it holds in the order of its slots. */
export interface Slots {
  readonly inputs: Feeds
  readonly keys: Int32Array
  readonly lengths: Float32Array
  readonly samples: ReadonlyArray<number>
  readonly tokens: number
}

/** [slots, places]: how hidden states become vectors, from where samples begin and end. */
const poolOf = (l: Labels, slots: number, b: MicroBatch): Float32Array => {
  const places = b.tokens.length
  const pool = new Float32Array(slots * places)
  let slot = -1
  for (let i = 0; i < places; i++) {
    if (b.segments[i] === 0) continue
    if (b.positions[i] === 0) slot += 1
    const ends = i + 1 === places || b.segments[i + 1] !== b.segments[i] || b.positions[i + 1] === 0
    if (l.pool !== 'last' || ends) pool[slot * places + i] = 1
    if (l.pool !== 'mean' || !ends) continue
    const length = b.positions[i]! + 1
    pool.fill(1 / length, slot * places + i + 1 - length, slot * places + i + 1)
  }
  return pool
}

const packed = (
  { labels, shapes }: LabelJob,
  samples: ReadonlyArray<Sample>,
): E.Either<Issue, ReadonlyArray<Slots>> =>
  pipe(
    packBatch(samples, { ...shapes, perRow: perRow(labels, shapes) }),
    E.map((batches) =>
      batches.map((b) => {
        const { tokens, positions, segments, keys, lengths } = b
        const pool = poolOf(labels, samplesOf(labels, shapes), b)
        const inputs = { tokens, positions, segments, pool }
        return { inputs, keys, lengths, samples: b.samples, tokens: b.tokensUsed }
      }),
    ),
  )

const stored = (
  { labels, shapes }: LabelJob,
  vectors: ReadonlyMap<number, Float32Array>,
  samples: ReadonlyArray<Sample>,
): ReadonlyArray<Slots> => {
  const most = samplesOf(labels, shapes)
  return Array.from({ length: Math.ceil(samples.length / most) }, (_, k) => {
    const here = samples.slice(k * most, (k + 1) * most)
    const width = vectors.get(here[0]!.row)!.length
    const embeddings = new Float32Array(most * width)
    here.forEach((s, i) => embeddings.set(vectors.get(s.row)!, i * width))
    return {
      inputs: { embeddings },
      keys: new Int32Array(0),
      lengths: new Float32Array(0),
      samples: here.map((_, i) => k * most + i),
      tokens: here.reduce((n, s) => n + s.prompt.length, 0),
    }
  })
}

/** The samples as calls of a function. Left: a sample longer than a row. */
export const slotsOf = (
  job: LabelJob,
  samples: ReadonlyArray<Sample>,
): E.Either<Issue, ReadonlyArray<Slots>> =>
  job.labels.cached && job.embeddings !== undefined
    ? E.right(stored(job, job.embeddings, samples))
    : packed(job, samples)

const labelsOf = (samples: ReadonlyArray<Sample>, head: number): ReadonlyArray<number> =>
  samples.map((s) => s.labels?.[head] ?? NaN)

/** For each sample the targets of a head, which make its loss a mean over all of them. */
const sharesOf = (t: Target, labels: ReadonlyArray<number>): ReadonlyArray<ReadonlyArray<number>> =>
  t.kind === 'number'
    ? labels.map((x) => [(x - t.shift) / t.scale])
    : lossShares(t, labels).map((row) => row.map((w) => w * t.of.loss.weight))

const targetsFor = (
  head: Head,
  t: Target,
  all: ReadonlyArray<ReadonlyArray<number>>,
  { samples }: Slots,
  slots: number,
): Feeds => {
  const width = targetWidth(head)
  const targets = new Float32Array(slots * width)
  samples.forEach((s, slot) => targets.set(all[s]!, slot * width))
  if (t.kind !== 'number') return { [`targets.${head.key}`]: targets }
  const weights = new Float32Array(slots).fill(t.of.loss.weight / all.length, 0, samples.length)
  return { [`targets.${head.key}`]: targets, [`weights.${head.key}`]: weights }
}

/** An optimizer step's samples as micro-steps. */
export const feedLabels =
  (job: LabelJob) =>
  (samples: ReadonlyArray<Sample>): E.Either<Issue, Fed> =>
    pipe(
      slotsOf(job, samples),
      E.map((slots) => {
        const count = samplesOf(job.labels, job.shapes)
        const heads = job.labels.heads.map((head, h) => {
          const target = job.targets[h]!
          return { head, target, shares: sharesOf(target, labelsOf(samples, h)) }
        })
        return {
          scored: samples.length,
          tokens: slots.reduce((n, s) => n + s.tokens, 0),
          micros: slots.map((s): Micro => {
            const own = heads.map(({ head, target, shares }) =>
              targetsFor(head, target, shares, s, count),
            )
            const inputs: Feeds = Object.assign({}, s.inputs, ...own) as Feeds
            return { inputs, keys: s.keys, lengths: s.lengths, samples: s.samples }
          }),
        }
      }),
    )

/** Logits of every head for every sample, head by head. */
export type Logits = ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>

export const logitsOf =
  (job: LabelJob, session: Session, samples: ReadonlyArray<Sample>) =>
  async (): Promise<E.Either<Issue, Logits>> => {
    const slots = slotsOf(job, samples)
    if (E.isLeft(slots)) return slots
    const all = job.labels.heads.map(() => samples.map((): ReadonlyArray<number> => []))
    for (const { inputs, samples: here } of slots.right) {
      const ran = await call(session.run('evaluate', inputs))()
      if (E.isLeft(ran)) return ran
      job.labels.heads.forEach((head, h) => {
        const y = ran.right[`logits.${head.key}`]!
        here.forEach((s, slot) => {
          all[h]![s] = Array.from(y.subarray(slot * head.logits, (slot + 1) * head.logits))
        })
      })
    }
    return E.right(all)
  }

export interface Scored {
  readonly heads: ReadonlyArray<readonly [Target, HeadScores]>
  readonly rows: number
}

/** Left with `blame`: a logit that is not finite. */
export const scoreSamples = (
  job: LabelJob,
  session: Session,
  samples: ReadonlyArray<Sample>,
  blame?: Blame,
): TE.TaskEither<Issue, Scored> =>
  pipe(
    logitsOf(job, session, samples),
    TE.chainEitherK((logits) => {
      const bad = samples.filter((_, i) => logits.some((head) => !head[i]!.every(Number.isFinite)))
      if (blame !== undefined && bad.length > 0) return E.left(blame(NaN, bad))
      const heads = job.targets.map(
        (t, h) => [t, headScores(t, logits[h]!, labelsOf(samples, h))] as const,
      )
      return E.right({ heads, rows: samples.length })
    }),
  )

export const labelTask = (job: LabelJob): Task => ({
  feed: (samples) => TE.fromEither(feedLabels(job)(samples)),
  measure: (session, samples, blame) =>
    pipe(
      scoreSamples(job, session, samples, blame),
      TE.map(({ heads, rows }) => ({ rows, metrics: together(heads) })),
    ),
})
