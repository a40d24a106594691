/** Some optimizer steps on a GPU session, timed whole, and one of each function timed launch by launch. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds } from '../../backends/backend.ts'
import { profile, type GroupTime } from '../../backends/cuda/profile.ts'
import { asBackendError } from '../../backends/cuda/failure.ts'
import type { CudaSession } from '../../backends/cuda/session.ts'
import type { Ceilings } from '../../backends/cuda/lower/text.ts'
import { one, type Issue, type Issues } from '../issue.ts'
import { batchingOf } from '../plan/batch.ts'
import { machineOf } from '../plan/machine.ts'
import type { Plan } from '../plan/plan.ts'
import { packBatch, type MicroBatch } from '../data/pack.ts'
import { feedsOf as preferenceFeeds } from '../preference/feeds.ts'
import { preferenceOf, type Preference } from '../preference/preference.ts'
import { gridOf } from '../preference/task.ts'
import type { Dataset } from '../plan/dataset.ts'
import { feedLabels } from '../train/label-task.ts'
import { call } from '../train/problem.ts'
import { runOfPlan } from '../train/schedule.ts'
import { initializePlan } from '../train/initialize.ts'
import { randomContents, randomFeeds } from './contents.ts'

export interface FnProfile {
  readonly fn: string
  /** Calls in one optimizer step. */
  readonly calls: number
  readonly groups: ReadonlyArray<GroupTime>
}

export interface Profiled {
  readonly model: string
  readonly gpu: string
  /** Micro-steps of an optimizer step, rows and tokens of each. */
  readonly microSteps: number
  readonly rows: number
  readonly length: number
  /** Whether rows and weights are the job's own. */
  readonly ownData: boolean
  readonly ownWeights: boolean
  /** Milliseconds of each optimizer step, first to last. */
  readonly steps: ReadonlyArray<number>
  /** Predicted milliseconds of a step; null where there is no model of it. */
  readonly predictedMs: number | null
  readonly fns: ReadonlyArray<FnProfile>
  /** What floors are computed with. */
  readonly ceilings: Ceilings
  readonly memory: {
    readonly arenaBytes: number
    /** Arena, context and libraries. */
    readonly predictedBytes: number
    /** Of the whole device while the session is open. */
    readonly usedBytes: number
  }
}

/** Of heads over an encoder; vectors that are kept on disk take the same time whatever is in them. */
const labelFeeds = (plan: Plan, data: Dataset): E.Either<Issue, ReadonlyArray<Feeds>> => {
  const samples = data.samples.train.slice(0, runOfPlan(plan, data).batching.effective)
  const { hidden } = plan.base.spec
  const vectors = new Map(samples.map((s) => [s.row, new Float32Array(hidden)]))
  return pipe(
    feedLabels({
      labels: plan.base.labels!,
      targets: data.targets ?? [],
      shapes: plan.shapes,
      embeddings: vectors,
    })(samples),
    E.map(({ micros }) =>
      micros.map(({ inputs, keys, lengths }): Feeds => ({
        ...inputs,
        seed: Int32Array.of(1),
        keys,
        lengths,
      })),
    ),
  )
}

/** The micro-steps of the first optimizer step, of the job's own rows where there are some. */
export const feedsOf = (plan: Plan): E.Either<Issue, ReadonlyArray<Feeds>> => {
  const { data, shapes, config, program } = plan
  const micro = program.fns.find((f) => f.name === 'micro')!
  if (data === null) {
    const { effective } = batchingOf(config.trainer, shapes.rows)
    const feeds = randomFeeds(micro, plan.base.spec.vocab)
    return E.right(Array.from({ length: Math.ceil(effective / shapes.rows) }, () => feeds))
  }
  const { batching } = runOfPlan(plan, data)
  if (plan.base.labels !== undefined) return labelFeeds(plan, data)
  const preference = preferenceOf(config.trainer)
  const samples = data.samples.train.slice(0, batching.effective)
  return pipe(
    packBatch(samples, preference === null ? shapes : gridOf(preference, shapes)),
    E.map((batches) => {
      const scored = batches.reduce((n, b) => n + b.scored, 0)
      const text = ({ tokens, positions, segments, targets }: MicroBatch): Feeds => {
        const inverse_count = Float32Array.of(1 / Math.max(1, scored))
        return { tokens, positions, segments, targets, inverse_count }
      }
      // As long as with references that have been computed.
      const whole = { samples: samples.length, tokens: Math.max(1, scored), kl: 0 }
      const pairs = (p: Preference, b: MicroBatch): Feeds =>
        preferenceFeeds(p, b, samples, () => [0, 0], whole)
      return batches.map((b): Feeds => ({
        ...(preference === null ? text(b) : pairs(preference, b)),
        seed: Int32Array.of(1),
        keys: b.keys,
        lengths: b.lengths,
      }))
    }),
  )
}

const filled = (plan: Plan, s: CudaSession, own: boolean): TE.TaskEither<Issue, unknown> =>
  own
    ? initializePlan(plan, s)
    : pipe(
        plan.program.state.filter((x) => ['frozen', 'held', 'train'].includes(x.role)),
        TE.traverseSeqArray((x) => call(s.write(x.name, randomContents(x)))),
      )

const updateFeeds = (t: number): Feeds => ({
  lr: Float32Array.of(1e-6),
  step: Float32Array.of(t),
})

const step = (s: CudaSession, micros: ReadonlyArray<Feeds>, t: number, clock: () => number) => {
  const begun = clock()
  return pipe(
    micros,
    TE.traverseSeqArray((feeds) => call(s.run('micro', feeds))),
    TE.chain(() => call(s.run('update', updateFeeds(t)))),
    TE.map(() => clock() - begun),
  )
}

export interface ProfileOptions {
  readonly steps: number
  /** Whether the base's own weights are there to be read. */
  readonly ownWeights: boolean
  /** Milliseconds. */
  readonly clock: () => number
}

/** Left: what the GPU reports, or weights that cannot be read. */
export const measured = (
  plan: Plan,
  s: CudaSession,
  { steps, ownWeights, clock }: ProfileOptions,
): TE.TaskEither<Issues, Profiled> => {
  const { calibration, name } = plan.device!
  const ceilings = { bytes: calibration.copy, flops: calibration.products.bf16 }
  const { seconds } = machineOf(plan.device, plan.room)
  const timed = (fn: string, calls: number, inputs: Feeds) => (): E.Either<Issue, FnProfile> =>
    pipe(
      profile(s, fn, inputs, ceilings),
      E.bimap(
        (e) => ({ message: `${e.backend}: ${e.message}` }),
        ({ groups }) => ({ fn, calls, groups }),
      ),
    )
  return pipe(
    TE.Do,
    TE.bind('micros', () => TE.fromEither(feedsOf(plan))),
    TE.chainFirst(() => filled(plan, s, ownWeights)),
    TE.bind('times', ({ micros }) =>
      pipe(
        Array.from({ length: steps }, (_, i) => i + 1),
        TE.traverseSeqArray((t) => step(s, micros, t, clock)),
      ),
    ),
    TE.bind('room', () => call(async () => E.mapLeft(asBackendError)(s.device.gpu.memory()))),
    TE.bind('micro', ({ micros }) => TE.fromEither(timed('micro', micros.length, micros[0]!)())),
    TE.bind('update', () => TE.fromEither(timed('update', 1, updateFeeds(steps + 1))())),
    TE.map(({ micros, times, room, micro, update }): Profiled => ({
      model: plan.base.name,
      gpu: name,
      microSteps: micros.length,
      rows: plan.shapes.rows,
      length: plan.shapes.length,
      ownData: plan.data !== null,
      ownWeights,
      steps: times,
      predictedMs:
        seconds === null
          ? null
          : 1e3 *
            (micros.length * seconds(plan.program, 'micro') + seconds(plan.program, 'update')),
      fns: [micro, update],
      ceilings,
      memory: {
        arenaBytes: s.lowered.arenaBytes,
        predictedBytes: plan.totalBytes,
        usedBytes: room.total - room.free,
      },
    })),
    TE.mapLeft(one),
  )
}
