/** `predict` and `evaluate` of a model that predicts labels: every row through encoder and heads. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Sample } from '../data/samples.ts'
import type { Target } from '../data/targets.ts'
import { issue, one, type Issues } from '../issue.ts'
import { askingProgram } from '../plan/asking.ts'
import { dataFindings } from '../plan/data-report.ts'
import type { Plan } from '../plan/plan.ts'
import { writePredictions, type Format } from '../predict/files.ts'
import { columnsOf } from '../predict/label-columns.ts'
import { metricText } from '../report/progress.ts'
import { matrixLines } from '../report/matrix.ts'
import { table } from '../report/table.ts'
import { plural } from '../report/units.ts'
import { logitsOf, type LabelJob, type Logits } from '../train/label-task.ts'
import { headScores, together, type HeadScores } from '../train/predicted.ts'
import { deviceHere } from './card.ts'
import { flagOf, textOf, type Exit, type Options } from './command.ts'
import { engineFor } from './engine.ts'
import { nearby, refuse } from './open.ts'
import { splitIn, splitOf, whatOf, withRows } from './rows.ts'
import type { Terminal } from './terminal.ts'
import { planTrained, withSession } from './trained-session.ts'
import type { Trained } from './trained.ts'

interface Outcome {
  readonly plan: Plan
  readonly samples: ReadonlyArray<Sample>
  readonly targets: ReadonlyArray<Target>
  readonly logits: Logits
  /** Over the rows that have a label; null: none has. */
  readonly scores: ReadonlyArray<HeadScores | null>
}

const scoresOf = (t: Target, h: number, samples: ReadonlyArray<Sample>, logits: Logits) => {
  const known = samples.flatMap((s, i) => (Number.isFinite(s.labels?.[h]) ? [i] : []))
  return known.length === 0
    ? null
    : headScores(
        t,
        known.map((i) => logits[h]![i]!),
        known.map((i) => samples[i]!.labels![h]!),
      )
}

const untrained = one(
  issue('the heads of this model are not trained, so there is nothing to ask it', {
    hint: 'name the results of `tunec train`',
  }),
)

const ask = async (
  trained: Trained,
  o: Options,
  t: Terminal,
): Promise<E.Either<Issues, Outcome>> => {
  if (trained.heads === null) return E.left(untrained)
  const device = await deviceHere(trained.config, o)
  const opened = pipe(
    E.Do,
    E.bind('plan', () => planTrained(withRows(trained, o, splitIn(o)), t, device, true)),
    E.bind('samples', ({ plan }) => {
      const samples = plan.data?.samples[splitOf(splitIn(o))] ?? []
      return samples.length > 0
        ? E.right(samples.toSorted((a, b) => a.row - b.row))
        : E.left(
            one(
              issue(`there are no rows ${whatOf(splitIn(o))}`, {
                hint: 'name a file with --dataset, or other rows with --split',
              }),
            ),
          )
    }),
    E.bind('compiled', ({ plan }) =>
      askingProgram(plan.base, plan.techniques, plan.shapes, ['evaluate']),
    ),
  )
  if (E.isLeft(opened)) return opened
  const { plan, samples, compiled } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return backend
  const { targets } = trained.heads
  const job: LabelJob = { labels: plan.base.labels!, targets, shapes: plan.shapes }
  t.status(`predicting ${plural(samples.length, 'row')}`)
  const use = (session: Session): TE.TaskEither<Issues, Logits> =>
    pipe(logitsOf(job, session, samples), TE.mapLeft(one))
  return pipe(
    withSession(backend.right, plan, compiled.program, trained, use),
    TE.map((logits) => ({
      plan,
      samples,
      targets,
      logits,
      scores: targets.map((target, h) => scoresOf(target, h, samples, logits)),
    })),
  )()
}

const known = ({ targets, scores }: Outcome): ReadonlyArray<readonly [Target, HeadScores]> =>
  targets.flatMap((t, h) => {
    const s = scores[h]
    return s === null || s === undefined ? [] : [[t, s] as const]
  })

/** By feature, with the confusion matrix of those that have classes. */
const statisticsOf = (o: Outcome): Readonly<Record<string, object>> => {
  const all = known(o)
  return all.length === 0
    ? {}
    : {
        ...Object.fromEntries(
          all.map(([t, { metrics, matrix }]) => [
            t.of.name,
            matrix === null || t.kind === 'number'
              ? metrics
              : { ...metrics, labels: t.classes, confusion_matrix: matrix },
          ]),
        ),
        combined: { loss: together(all).loss },
      }
}

const show = (outcome: Outcome, findings: ReadonlyArray<string>, o: Options, t: Terminal): void => {
  const all = known(outcome)
  if (flagOf(o, 'json'))
    return t.out(
      JSON.stringify(
        { rows: outcome.samples.length, ...statisticsOf(outcome), data_findings: findings },
        null,
        2,
      ),
    )
  const metrics: Readonly<Record<string, number>> = all.length === 0 ? {} : together(all)
  const columns = [
    { title: '', align: 'left' },
    { title: '', align: 'right' },
  ] as const
  const rows = Object.entries(metrics).map(([name, x]) => [name, metricText(name, x)])
  t.out(
    `${plural(outcome.samples.length, 'row')} ${whatOf(splitIn(o))}`,
    ...table(columns, rows).slice(1),
    ...all.flatMap(([target, { matrix }]) =>
      matrix === null || target.kind === 'number'
        ? []
        : ['', ...matrixLines(target.of.name, target.classes, matrix, t.style)],
    ),
  )
}

/** `evaluate`, and with an output folder `predict`. */
export const runLabels = async (
  trained: Trained,
  writes: boolean,
  o: Options,
  t: Terminal,
): Promise<Exit> => {
  const done = await ask(trained, o, t)
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  const outcome = done.right
  const findings = dataFindings(outcome.plan, trained.config).map(nearby)
  if (findings.length > 0) t.note(...findings.map(t.noteStyle.yellow))
  show(outcome, findings, o, t)
  if (!writes) return 0
  const folder = textOf(o, 'output')!
  const columns = outcome.targets.flatMap((target, h) => columnsOf(target, outcome.logits[h]!))
  const wrote = await writePredictions(
    folder,
    columns,
    statisticsOf(outcome),
    textOf(o, 'format') as Format,
  )()
  if (E.isLeft(wrote)) return refuse([wrote.left], t)
  if (!flagOf(o, 'json')) t.out(`written to ${nearby(folder)}: ${wrote.right.join(', ')}`)
  return 0
}
