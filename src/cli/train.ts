/** `tunec train`: a config or a plan becomes an adapter, with its progress shown on the way. */
import * as E from 'fp-ts/lib/Either.js'
import type { Backend } from '../../backends/backend.ts'
import { compared, unasked, type Exactness, type Question } from '../generate/index.ts'
import type { Issue } from '../issue.ts'
import { dataFindings } from '../plan/data-report.ts'
import { fitIssue, fitOf } from '../plan/fit.ts'
import { isPlanFile } from '../plan/file.ts'
import { ladderOf } from '../plan/ladder.ts'
import { tooSmall } from '../plan/least.ts'
import type { Plan } from '../plan/plan.ts'
import { renderLadder } from '../report/ladder.ts'
import { renderPlan } from '../report/plan.ts'
import { eventLine, metricText, stepLine } from '../report/progress.ts'
import { table } from '../report/table.ts'
import { count, duration } from '../report/units.ts'
import type { TrainEvent } from '../train/events.ts'
import { ready } from '../train/foresee.ts'
import { train, type TrainOptions, type TrainResult } from '../train/train.ts'
import { ask, comparisonLines, heldOut, limitLines } from './ask.ts'
import { flagOf, numberOf, textOf, type Exit, type Options, type Run } from './command.ts'
import { engineFor } from './engine.ts'
import { embeddingsFolder } from './cache.ts'
import { interruptible } from './interrupt.ts'
import { nearby, openPlan, refuse } from './open.ts'
import type { Terminal } from './terminal.ts'

/** Milliseconds between plain progress lines where none can be redrawn. */
const EVERY = 5000

/** Shows events: steps on one redrawn line, or a plain one now and then. */
const reporter = (t: Terminal): ((e: TrainEvent) => void) => {
  let last = t.clock()
  return (e) => {
    if (e._tag === 'encoding') return t.status(`encoding ${e.done}/${e.of} rows`)
    if (e._tag === 'step') {
      if (t.live) return t.status(stepLine(e, true))
      if (t.clock() - last < EVERY && e.step !== e.of) return
      last = t.clock()
      return t.note(stepLine(e, false))
    }
    const line = eventLine(e, t.noteStyle)
    if (line !== null) t.note(nearby(line))
  }
}

const metricTable = (r: TrainResult<unknown>): ReadonlyArray<string> => {
  const splits = (['train', 'validation', 'test'] as const).filter((s) => r.metrics[s] !== null)
  const names = [...new Set(splits.flatMap((s) => Object.keys(r.metrics[s]!)))]
  return table(
    [{ title: '', align: 'left' }, ...splits.map((title) => ({ title, align: 'right' as const }))],
    names.map((name) => [
      name,
      ...splits.map((s) => {
        const value = (r.metrics[s] as Readonly<Record<string, number>>)[name]
        return value === undefined ? '' : metricText(name, value)
      }),
    ]),
  )
}

const answerLines = (
  r: TrainResult<Exactness>,
  show: number,
  t: Terminal,
): ReadonlyArray<string> => {
  const { before, after } = r.answers ?? { before: null, after: null }
  if (after === null) return []
  const share = (x: Exactness): string => metricText('exact_match', x.exactMatch)
  const rows = after.rows.length
  return [
    ...compared(before, after, show).flatMap((c) => comparisonLines(c, t.style)),
    '',
    t.style.bold(
      `exact match on ${rows} held-out rows: ${before === null ? '' : `${share(before)} before, `}${share(after)} after`,
    ),
    ...limitLines(after).map(t.style.yellow),
  ]
}

/** What reading each row once spared: measured seconds of a row, by how often a run without the cache reads one. */
const encodedLines = ({ encoded, seconds }: TrainResult<unknown>): ReadonlyArray<string> => {
  if (encoded === null) return []
  const { rows, computed, secondsPerRow, reads, seconds: once } = encoded
  const without = reads * secondsPerRow + seconds
  const spared = without / Math.max(1e-9, once + seconds)
  return [
    `the encoder read ${count(computed)} texts now, in ${duration(once)}, for ${count(rows)} rows; the others repeat them or lay in the cache`,
    `in every step and evaluation it would have read ${count(reads)} rows, which takes ${duration(reads * secondsPerRow)}: the cache makes this run ${spared.toFixed(1)} times as fast`,
  ]
}

const resultLines = (
  r: TrainResult<Exactness>,
  show: number,
  t: Terminal,
): ReadonlyArray<string> => {
  const [head, ...rows] = metricTable(r)
  const kept =
    r.kept._tag === 'best'
      ? `the best weights, of step ${r.kept.step}`
      : `the last weights: ${r.kept.why}`
  return [
    ...answerLines(r, show, t),
    ...(rows.length === 0 ? [] : ['', t.style.dim(head!), ...rows]),
    '',
    ...encodedLines(r),
    `${count(r.steps)} steps, ${count(r.tokens)} tokens in ${duration(r.seconds)}; kept ${kept}`,
    ...(r.adapterFolder === null
      ? ['nothing was learned yet, so there is no adapter']
      : [`${t.style.bold('result')}  ${nearby(r.adapterFolder)}`]),
    ...(r.mergedFolder === null ? [] : [`${t.style.bold('merged')}  ${nearby(r.mergedFolder)}`]),
  ]
}

const showPlan = (plan: Plan, o: Options, t: Terminal): void => {
  t.out(...renderPlan(plan, t.style), '')
  const findings = dataFindings(plan)
  if (findings.length > 0) t.out(...findings.map((l) => t.style.yellow(nearby(l))), '')
  if (!flagOf(o, 'ladder')) return
  const ladder = ladderOf(plan, t.clock)
  if (E.isRight(ladder)) t.out(...renderLadder(ladder.right, t.style), '')
}

/** Over budget is known before anything is loaded. */
const overBudget = (plan: Plan): ReturnType<typeof fitIssue> => {
  const { budget } = plan
  return budget === null ? null : fitIssue(fitOf(plan, budget))
}

/** Prompts to show the model's answers to, where that is asked for. */
const questionsFor = (plan: Plan, o: Options): ReadonlyArray<Question> =>
  numberOf(o, 'show') === undefined ? [] : heldOut(plan)

const unaskedIn = (plan: Plan, o: Options): Issue | null =>
  plan.data === null ? null : unasked(plan.data, questionsFor(plan, o))

const optionsOf = (
  plan: Plan,
  o: Options,
  t: Terminal,
  stop: () => boolean,
): TrainOptions<Exactness> => {
  const resume = textOf(o, 'resume')
  const questions = questionsFor(plan, o)
  return {
    resultsFolder: textOf(o, 'outputDirectory')!,
    experimentName: textOf(o, 'experimentName')!,
    modelName: textOf(o, 'modelName')!,
    ...(resume === undefined ? {} : { resume }),
    onEvent: reporter(t),
    stop,
    clock: t.clock,
    embeddingsFolder: embeddingsFolder(process.env),
    ...(questions.length === 0 ? {} : { answer: ask(plan, questions, t) }),
  }
}

/** Left: it was not trained to the end, and why was said. */
const trainOn = async (
  plan: Plan,
  backend: Backend,
  o: Options,
  t: Terminal,
): Promise<E.Either<Exit, TrainResult<Exactness>>> => {
  const done = await interruptible(t, (stop) => train(plan, backend, optionsOf(plan, o, t, stop))())
  t.status(null)
  if (E.isLeft(done)) return E.left(refuse(done.left, t))
  const r = done.right
  t.out(...resultLines(r, numberOf(o, 'show') ?? 0, t))
  if (!r.stopped) return E.right(r)
  t.out(`to go on: the same command with --resume ${nearby(r.resultsFolder)}`)
  return E.left(130)
}

/** Trains what a config or a plan says, with its progress shown. Left: the exit code of what was said. */
export const trained = async (
  file: string,
  o: Options,
  t: Terminal,
): Promise<E.Either<Exit, TrainResult<Exactness>>> => {
  const opened = await openPlan(file, o, t, ready, 'run')
  if (E.isLeft(opened)) return E.left(refuse(opened.left, t))
  const plan = opened.right
  // What a plan file says was free is of another time.
  const small = isPlanFile(file) ? null : tooSmall(plan)
  const problem = overBudget(plan) ?? small ?? unaskedIn(plan, o)
  if (problem !== null) return E.left(refuse([problem], t))
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return E.left(refuse(backend.left, t))
  showPlan(plan, o, t)
  return trainOn(plan, backend.right, o, t)
}

export const run: Run = async (file, o, t) => {
  const done = await trained(file, o, t)
  return E.isLeft(done) ? done.left : 0
}
