/** A whole run: from a plan to an adapter that has been read back and compared. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import { size } from '../../ir/type.ts'
import { countsOf, type SplitName } from '../data/split.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { affordable } from '../machine.ts'
import type { Dataset } from '../plan/dataset.ts'
import { leastHint } from '../plan/least.ts'
import type { Plan } from '../plan/plan.ts'
import { taskFrom } from './compared.ts'
import { findSaved, refusal, restore, save, type Saved, type Saving } from './checkpoint.ts'
import type { Kept, TrainEvent } from './events.ts'
import { conclude } from './finish.ts'
import { ready } from './foresee.ts'
import { jobOf } from './job.ts'
import { locked, type Lock } from './lock.ts'
import { encodeRows, type Encoded } from './encode.ts'
import type { Metrics } from './measured.ts'
import { metricOf } from './metric.ts'
import { train as loop, type Loop } from './loop.ts'
import { call, ofBackend } from './problem.ts'
import { beginning, type Evaluation, type Progress } from './progress.ts'
import { isRunFolder, makeParent, makeRunFolder, writeBeginning, writeProgress } from './results.ts'
import { readsOf } from './reads.ts'
import { runOfPlan, ticksDone, type Run } from './schedule.ts'
import { initializePlan } from './initialize.ts'
import { goOn } from './start.ts'

export interface TrainOptions<A> {
  /** Where results folders are made, `results` by Ludwig's habit. */
  readonly resultsFolder: string
  readonly experimentName: string
  /** Last part of the folder's name; `run` where it is not given. */
  readonly modelName?: string
  /** A results folder to go on with. */
  readonly resume?: string
  readonly onEvent: (event: TrainEvent) => void
  /** Asked after each step; true: save and return. */
  readonly stop: () => boolean
  /** Milliseconds. */
  readonly clock: () => number
  /** Where vectors of frozen encoders are kept, for all runs. */
  readonly embeddingsFolder?: string
  /** Lets the model answer before and after training; a run that is stopped is not asked again. */
  readonly answer?: (session: Session, when: 'before' | 'after') => TE.TaskEither<Issue, A>
}

export interface TrainResult<A> {
  readonly resultsFolder: string
  /** `model/model_weights`; null when a run was stopped before anything was learned. */
  readonly adapterFolder: string | null
  /** The 16-bit base with the adapter added in, where asked for. */
  readonly mergedFolder: string | null
  readonly kept: Kept
  /** Of the weights that were kept; a split without rows or evaluation has null. */
  readonly metrics: { readonly [S in SplitName]: Partial<Metrics> | null }
  readonly history: ReadonlyArray<Evaluation>
  /** Whether a stop was asked for: the run can be resumed. */
  readonly stopped: boolean
  /** Optimizer steps, tokens of samples and seconds, those before a resumption included. */
  readonly steps: number
  readonly tokens: number
  readonly seconds: number
  readonly answers: { readonly before: A; readonly after: A | null } | null
  /** Of a frozen encoder that read each row once; `reads`: rows that it would have read in every step and evaluation. */
  readonly encoded: (Encoded & { readonly reads: number }) | null
}

/** Puts the session where the run stands; a run's first checkpoint is made before its first step. */
const arrive = (
  s: Saving,
  plan: Plan,
  steps: number,
  saved: Saved | null,
): TE.TaskEither<Issue, Progress> =>
  saved === null
    ? pipe(
        writeBeginning(s.resultsFolder, plan, s.job),
        TE.chain(() => save(s, beginning, false)),
        TE.map(() => beginning),
      )
    : restore(s, saved, steps)

const startEvent = (plan: Plan, data: Dataset, run: Run, s: Saving, p: Progress): TrainEvent => ({
  _tag: 'start',
  resultsFolder: s.resultsFolder,
  from: p.step,
  steps: run.steps,
  epochs: Math.ceil(run.total / run.ticksPerEpoch),
  parameters: plan.program.state
    .filter((x) => x.role === 'train')
    .reduce((n, x) => n + size(x.type), 0),
  samples: countsOf(data.samples),
})

/** A session that holds the first weights, and what the model answers with them. */
interface Filled<A> {
  readonly session: Session
  readonly weights: string
  /** Of the adapter that it goes on from. */
  readonly adapter: string | null
  readonly before: A | null
}

/** Uses a session that holds the first weights, and closes it. */
const withSession = <A, B>(
  plan: Plan,
  backend: Backend,
  { answer }: TrainOptions<A>,
  use: (filled: Filled<A>) => TE.TaskEither<Issue, B>,
): TE.TaskEither<Issue, B> =>
  TE.bracket(
    pipe(
      backend.prepare(plan.program, plan.room),
      TE.mapLeft((e) => {
        const is = ofBackend(e)
        const hints = [is.hint ?? [], leastHint(plan)].flat()
        return e.lacks === 'memory' ? { ...is, hint: hints.join('; ') } : is
      }),
    ),
    (session) =>
      pipe(
        initializePlan(plan, session),
        TE.bindTo('weights'),
        TE.bind('adapter', () => TE.mapLeft(([first]: Issues) => first)(goOn(plan, session))),
        TE.bind('before', () => answer?.(session, 'before') ?? TE.right(null)),
        TE.chain((filled) => use({ session, ...filled })),
      ),
    (session) => call(session.close()),
  )

/** The only writer of a results folder, and the checkpoint to go on from; null: begin at the beginning. */
interface Place {
  readonly results: string
  readonly lock: Lock
  readonly saved: Saved | null
}

/** The folder of a run to resume, locked and read before anything is loaded: a wrong path costs no time. */
const resumed = <A>(
  results: string,
  go: (place: Place) => TE.TaskEither<Issue, A>,
): TE.TaskEither<Issue, A> =>
  pipe(
    isRunFolder(results),
    TE.filterOrElse(
      (is) => is,
      () =>
        issue('there is no run to resume', {
          file: results,
          expected: 'a results folder, such as results/experiment_run',
        }),
    ),
    TE.chain(() =>
      locked(results, (lock) =>
        pipe(
          findSaved(results),
          TE.chain((saved) => go({ results, lock, saved })),
        ),
      ),
    ),
  )

/** A run's launches stay those that it began with, whatever the planner would choose today: its bits depend on them. */
const asBegun = (plan: Plan, saved: Saved | null): Plan =>
  saved === null ? plan : { ...plan, room: saved.job.room ?? null }

/** All but the first weights is compared before they are loaded. */
const continuable = (
  plan: Plan,
  data: Dataset,
  backend: string,
  saved: Saved | null,
): E.Either<Issue, void> => {
  if (saved === null) return E.right(undefined)
  const job = jobOf(plan, data, backend, saved.job.weights, saved.job.adapter ?? null)
  const metric = metricOf(plan.config)
  const why = refusal({ job, metric }, saved, runOfPlan(plan, data).steps)
  return why === null ? E.right(undefined) : E.left(why)
}

const runIn = <A>(
  plan: Plan,
  data: Dataset,
  backend: string,
  o: TrainOptions<A>,
  { session, weights, adapter, before }: Filled<A>,
  { results, lock, saved }: Place,
  encoded: Encoded | null,
): TE.TaskEither<Issue, TrainResult<A>> => {
  const run = runOfPlan(plan, data)
  const first = { session, backend, weights, adapter, vectors: encoded?.vectors }
  const saving: Saving = {
    session,
    program: plan.program,
    job: jobOf(plan, data, backend, encoded?.weights ?? weights, adapter),
    metric: metricOf(plan.config),
    resultsFolder: results,
  }
  return pipe(
    TE.Do,
    TE.bind('task', () => taskFrom(plan, data, first, results, o.onEvent)),
    TE.bind('from', () => arrive(saving, plan, run.steps, saved)),
    // The kill may have come between a checkpoint and what is told of it.
    TE.chainFirst(({ from }) =>
      saved === null
        ? TE.right(undefined)
        : writeProgress(results, plan, run, ticksDone(run, from.step), from),
    ),
    TE.bind('l', ({ from, task }) => {
      o.onEvent(startEvent(plan, data, run, saving, from))
      return TE.right<Issue, Loop>({
        ...{ session, plan, data, run, task },
        ...{ onEvent: o.onEvent, stop: o.stop, clock: o.clock },
        save: (p, improved) =>
          pipe(
            lock.check,
            TE.chain(() => save(saving, p, improved)),
            TE.chainFirst(() => writeProgress(results, plan, run, ticksDone(run, p.step), p)),
          ),
      })
    }),
    TE.bind('ended', ({ l, from }) => loop(l, from)),
    TE.chainFirst(() => lock.check),
    TE.chain(({ l, ended }) => conclude(l, saving, ended, before, o)),
    TE.map((r) => ({
      ...r,
      encoded: encoded === null ? null : { ...encoded, reads: readsOf(plan, data, run, r) },
    })),
  )
}

/** The vectors of all rows, where the encoder is frozen and is to read them once. */
const encodedOf = <A>(
  plan: Plan,
  data: Dataset,
  backend: Backend,
  { embeddingsFolder, resultsFolder, clock, onEvent }: TrainOptions<A>,
): TE.TaskEither<Issue, Encoded | null> =>
  plan.base.labels?.cached !== true
    ? TE.right(null)
    : encodeRows(plan, data, backend, {
        cacheFolder: embeddingsFolder ?? join(resultsFolder, 'embeddings'),
        clock,
        onProgress: (done, of) => onEvent({ _tag: 'encoding', done, of }),
      })

/** Trains. Left: every expected failure; a checkpoint, once there, stays good. */
export const train = <A = never>(
  plan: Plan,
  backend: Backend,
  options: TrainOptions<A>,
): TE.TaskEither<Issues, TrainResult<A>> =>
  pipe(
    TE.fromEither(ready(plan)),
    TE.chainFirstEitherK(() =>
      E.mapLeft(one)(affordable(backend.name, plan.arenaBytes, plan.device)),
    ),
    TE.bindTo('data'),
    TE.bind('encoded', ({ data }) => TE.mapLeft(one)(encodedOf(plan, data, backend, options))),
    TE.chain(({ data, encoded }) => {
      const go = (filled: Filled<A>) => (place: Place) =>
        runIn(asBegun(plan, place.saved), data, backend.name, options, filled, place, encoded)
      const { resume, resultsFolder, experimentName, modelName } = options
      return pipe(
        resume === undefined
          ? pipe(
              makeParent(resultsFolder),
              TE.chain(() =>
                withSession(plan, backend, options, (filled) =>
                  pipe(
                    makeRunFolder(resultsFolder, experimentName, modelName),
                    TE.chain((results) =>
                      locked(results, (lock) => go(filled)({ results, lock, saved: null })),
                    ),
                  ),
                ),
              ),
            )
          : resumed(resume, (place) =>
              pipe(
                TE.fromEither(continuable(plan, data, backend.name, place.saved)),
                TE.chain(() =>
                  withSession(asBegun(plan, place.saved), backend, options, (filled) =>
                    go(filled)(place),
                  ),
                ),
              ),
            ),
        TE.mapLeft(one),
      )
    }),
  )
