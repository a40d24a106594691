/** The training loop: steps in order, an evaluation and a checkpoint where the schedule says, until the end or a stop. */
import * as E from 'fp-ts/lib/Either.js'
import type * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { fnOf } from '../../ir/graph.ts'
import { hash32 } from '../../ir/random.ts'
import { rowName } from '../data/cell.ts'
import type { Sample } from '../data/samples.ts'
import { issue, type Issue } from '../issue.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { evaluated } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { metricsOf, type Measured } from './measured.ts'
import { metricOf } from './metric.ts'
import {
  bestOf,
  runningMetrics,
  sinceBest,
  summed,
  trainedOf,
  type Evaluation,
  type Progress,
} from './progress.ts'
import { reduced, reductionsOf } from './plateau.ts'
import { rateAt, rateOf } from './rate.ts'
import { stepsOf, type Run, type Step } from './schedule.ts'
import { optimizerStep, type Stepped } from './step.ts'
import type { Task } from './task.ts'

export interface Loop {
  readonly session: Session
  readonly plan: Plan
  readonly data: Dataset
  readonly task: Task
  readonly run: Run
  /** Saves a checkpoint; `improved` weights are the best so far. Gives its folder. */
  readonly save: (progress: Progress, improved: boolean) => TE.TaskEither<Issue, string>
  readonly onEvent: (event: TrainEvent) => void
  /** Asked after each step. */
  readonly stop: () => boolean
  /** Milliseconds. */
  readonly clock: () => number
}

export interface Ended {
  readonly progress: Progress
  readonly end: 'finished' | 'early' | 'stopped'
}

const MANY = 8

/** Names the rows, so that they can be looked at. */
const blame =
  ({ data, plan }: Loop, step: Step) =>
  (what: string, value: number, samples: ReadonlyArray<Sample>): Issue => {
    const rows = samples.map((s) => rowName(data.table, s.row))
    const more = rows.length > MANY ? ` and ${rows.length - MANY} more` : ''
    return issue(
      `the ${what} of optimizer step ${step.index + 1} is ${value}, in ${rows.slice(0, MANY).join(', ')}${more}`,
      {
        file: data.table.file,
        expected: 'a finite number',
        hint: `lower trainer.learning_rate (${plan.config.trainer.learning_rate}) or warm up, and look at these rows; nothing of this step was saved`,
      },
    )
  }

const trainStep = (l: Loop, step: Step, applied: number, lr: number) => {
  const inputs = fnOf(l.plan.program, 'micro')?.inputs ?? []
  return optimizerStep(l.session, {
    samples: step.samples.map((i) => l.data.samples.train[i]!),
    feed: l.task.feed,
    lr,
    t: applied + 1,
    seed: hash32(l.run.seed, step.index, 0) | 0,
    takes: new Set(inputs.map((i) => i.name)),
    blame: blame(l, step),
  })
}

const after = (p: Progress, s: Stepped, seconds: number): Progress => ({
  ...p,
  step: p.step + 1,
  applied: p.applied + (s.applied ? 1 : 0),
  tokens: p.tokens + s.tokens,
  seconds,
  lossSum: p.lossSum + s.loss * s.scored,
  scored: p.scored + s.scored,
  ...summed(p.sums, s.metrics, s.scored),
})

const stepEvent = (
  l: Loop,
  step: Step,
  s: Stepped,
  lr: number,
  since: { readonly steps: number; readonly tokens: number; readonly seconds: number },
): TrainEvent => ({
  _tag: 'step',
  step: step.index + 1,
  of: l.run.steps,
  epoch: step.epoch + 1,
  loss: s.loss,
  metrics: s.metrics,
  lr,
  gradNorm: s.gradNorm,
  applied: s.applied,
  tokens: s.tokens,
  tokensPerSecond: since.tokens / Math.max(since.seconds, 1e-9),
  secondsLeft: (since.seconds / since.steps) * (l.run.steps - step.index - 1),
})

/** Counts of the splits that are looked at; null for one that is not. */
const measure = async (
  l: Loop,
): Promise<
  E.Either<Issue, { readonly training: Measured | null; readonly validation: Measured | null }>
> => {
  const { trainer } = l.plan.config
  const over = async (wanted: boolean, samples: ReadonlyArray<Sample>) => {
    const chosen = evaluated(trainer, l.run.batching, samples)
    return wanted && chosen.length > 0 ? await l.task.measure(l.session, chosen)() : E.right(null)
  }
  const training = await over(trainer.evaluate_training_set, l.data.samples.train)
  if (E.isLeft(training)) return training
  const validation = await over(true, l.data.samples.validation)
  return E.map((v: Measured | null) => ({ training: training.right, validation: v }))(validation)
}

const evaluate = async (
  l: Loop,
  step: Step,
  learningRate: number,
  p: Progress,
): Promise<E.Either<Issue, { readonly progress: Progress; readonly improved: boolean }>> => {
  const { trainer } = l.plan.config
  if (trainer.skip_all_evaluation) return E.right({ progress: p, improved: false })
  const measured = await measure(l)
  if (E.isLeft(measured)) return measured
  const evaluation: Evaluation = {
    step: p.step,
    ticks: step.tick + 1,
    epoch: step.epoch,
    learningRate,
    running: p.lossSum / p.scored,
    ...measured.right,
    ...trainedOf(p),
  }
  const history = [...p.history, evaluation]
  const metric = metricOf(l.plan.config)
  const improved = bestOf(history, metric) === history.length - 1
  const { validation } = evaluation
  l.onEvent({
    _tag: 'evaluation',
    step: p.step,
    epoch: step.epoch + 1,
    training: runningMetrics(evaluation, l.plan.base.labels === undefined),
    validation: validation === null ? null : metricsOf(validation),
    improved,
    sinceBest: sinceBest(history, metric),
  })
  const { sums: _, ...rest } = p
  return E.right({ progress: { ...rest, history, lossSum: 0, scored: 0 }, improved })
}

const patienceOver = (l: Loop, p: Progress): boolean => {
  const { early_stop: patience } = l.plan.config.trainer
  return patience > 0 && sinceBest(p.history, metricOf(l.plan.config)) >= patience
}

/** Lets signals and timers have their turn: a backend may compute without ever waiting. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const saved = async (l: Loop, p: Progress, improved: boolean): Promise<E.Either<Issue, void>> =>
  E.map((folder: string) => l.onEvent({ _tag: 'checkpoint', step: p.step, folder }))(
    await l.save(p, improved)(),
  )

/** What follows a step: an evaluation and a checkpoint where the schedule says, a checkpoint where a stop was asked for. */
const settle = async (
  l: Loop,
  step: Step,
  lr: number,
  p: Progress,
  asked: boolean,
): Promise<E.Either<Issue, Progress>> => {
  if (!step.marks && !asked) return E.right(p)
  const seen = step.marks
    ? await evaluate(l, step, lr, p)
    : E.right({ progress: p, improved: false })
  if (E.isLeft(seen)) return seen
  const { progress, improved } = seen.right
  return E.map(() => progress)(await saved(l, progress, improved))
}

/** Continues from `from`, whose state the session holds. Left: the session's state is of no use, the checkpoint is. */
export const train = (l: Loop, from: Progress) => async (): Promise<E.Either<Issue, Ended>> => {
  const { trainer } = l.plan.config
  const [rate, plateau] = [rateOf(trainer, l.run), trainer.learning_rate_scheduler]
  const begun = l.clock()
  let p = from
  if (patienceOver(l, p)) return E.right({ progress: p, end: 'early' })
  for (const step of stepsOf(l.run, from.step)) {
    const lr = reduced(
      plateau,
      reductionsOf(plateau, p.history),
      step.tick,
      rateAt(rate, step.tick),
    )
    const stepped = await trainStep(l, step, p.applied, lr)()
    if (E.isLeft(stepped)) return stepped
    const seconds = (l.clock() - begun) / 1000
    p = after(p, stepped.right, from.seconds + seconds)
    const since = { steps: p.step - from.step, tokens: p.tokens - from.tokens, seconds }
    l.onEvent(stepEvent(l, step, stepped.right, lr, since))
    await breathe()
    const asked = l.stop()
    const settled = await settle(l, step, lr, p, asked)
    if (E.isLeft(settled)) return settled
    p = settled.right
    if (step.marks && patienceOver(l, p)) return E.right({ progress: p, end: 'early' })
    if (asked && p.step < l.run.steps) return E.right({ progress: p, end: 'stopped' })
  }
  return E.right({ progress: p, end: 'finished' })
}
