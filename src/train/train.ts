/** A whole run: from a plan to an adapter that has been read back and compared. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../../backends/backend.ts'
import { size } from '../../ir/type.ts'
import type { SplitName } from '../data/split.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { affordable } from '../machine.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { findSaved, restore, save, type Saved, type Saving } from './checkpoint.ts'
import type { Metrics } from './evaluate.ts'
import type { Kept, TrainEvent } from './events.ts'
import { conclude } from './finish.ts'
import { ready } from './foresee.ts'
import { jobOf } from './job.ts'
import { train as loop, type Loop } from './loop.ts'
import { call } from './problem.ts'
import { beginning, type Evaluation, type Progress } from './progress.ts'
import { isRunFolder, makeParent, makeRunFolder, writeBeginning, writeProgress } from './results.ts'
import { runOfPlan, ticksDone, type Run } from './schedule.ts'
import { initializePlan } from './state.ts'

export interface TrainOptions<A> {
  /** Where results folders are made, `results` by Ludwig's habit. */
  readonly resultsFolder: string
  readonly experimentName: string
  /** A results folder to go on with. */
  readonly resume?: string
  readonly onEvent: (event: TrainEvent) => void
  /** Asked after each step; true: save and return. */
  readonly stop: () => boolean
  /** Milliseconds. */
  readonly clock: () => number
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
}

/** The checkpoint to go on from; null: begin at the beginning. Asked before anything is loaded, so that a wrong path costs no time. */
const savedOf = ({
  resume,
  resultsFolder,
}: TrainOptions<unknown>): TE.TaskEither<Issue, Saved | null> =>
  resume === undefined
    ? TE.map(() => null)(makeParent(resultsFolder))
    : pipe(
        isRunFolder(resume),
        TE.filterOrElse(
          (is) => is,
          () =>
            issue('there is no run to resume', {
              file: resume,
              expected: 'a results folder, such as results/experiment_run',
            }),
        ),
        TE.chain(() => findSaved(resume)),
      )

/** Puts the session where the run stands; a run's first checkpoint is made before its first step. */
const arrive = (s: Saving, plan: Plan, saved: Saved | null): TE.TaskEither<Issue, Progress> =>
  saved === null
    ? pipe(
        writeBeginning(s.resultsFolder, plan, s.job.backend),
        TE.chain(() => save(s, beginning, false)),
        TE.map(() => beginning),
      )
    : restore(s, saved)

const startEvent = (plan: Plan, data: Dataset, run: Run, s: Saving, p: Progress): TrainEvent => ({
  _tag: 'start',
  resultsFolder: s.resultsFolder,
  from: p.step,
  steps: run.steps,
  epochs: Math.ceil(run.total / run.ticksPerEpoch),
  parameters: plan.program.state
    .filter((x) => x.role === 'train')
    .reduce((n, x) => n + size(x.type), 0),
  samples: {
    train: data.samples.train.length,
    validation: data.samples.validation.length,
    test: data.samples.test.length,
  },
})

const runIn = <A>(
  session: Session,
  plan: Plan,
  data: Dataset,
  backend: string,
  o: TrainOptions<A>,
): TE.TaskEither<Issue, TrainResult<A>> => {
  const run = runOfPlan(plan, data)
  const { program } = plan
  return pipe(
    TE.Do,
    TE.bind('saved', () => savedOf(o)),
    TE.bind('weights', () => initializePlan(plan, session)),
    TE.bind('before', () => o.answer?.(session, 'before') ?? TE.right(null)),
    TE.bind('results', () =>
      o.resume === undefined
        ? makeRunFolder(o.resultsFolder, o.experimentName)
        : TE.right(o.resume),
    ),
    TE.bind('saving', ({ results, weights }) =>
      TE.right<Issue, Saving>({
        session,
        program,
        job: jobOf(plan, data, backend, weights),
        resultsFolder: results,
      }),
    ),
    TE.bind('from', ({ saving, saved }) => arrive(saving, plan, saved)),
    TE.bind('l', ({ saving, from }) => {
      o.onEvent(startEvent(plan, data, run, saving, from))
      return TE.right<Issue, Loop>({
        ...{ session, plan, data, run, onEvent: o.onEvent, stop: o.stop, clock: o.clock },
        save: (p, improved) =>
          pipe(
            save(saving, p, improved),
            TE.chainFirst(() =>
              writeProgress(saving.resultsFolder, plan, run, ticksDone(run, p.step), p),
            ),
          ),
      })
    }),
    TE.bind('ended', ({ l, from }) => loop(l, from)),
    TE.chain(({ l, saving, ended, before }) => conclude(l, saving, ended, before, o)),
  )
}

/** Trains. Left: every expected failure; a checkpoint, once there, stays good. */
export const train = <A = never>(
  plan: Plan,
  backend: Backend,
  options: TrainOptions<A>,
): TE.TaskEither<Issues, TrainResult<A>> =>
  pipe(
    TE.fromEither(ready(plan)),
    TE.chainFirstEitherK(() => E.mapLeft(one)(affordable(backend.name, plan.arenaBytes))),
    TE.chain((data) =>
      pipe(
        TE.bracket(
          call(backend.prepare(plan.program)),
          (session) => runIn(session, plan, data, backend.name, options),
          (session) => call(session.close()),
        ),
        TE.mapLeft(one),
      ),
    ),
  )
