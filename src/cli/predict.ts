/** `tunec predict`: every row of a file answered, the answers written with their probabilities, and measured where the file knows better. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { extracted } from '../config/outputs.ts'
import { gridFor, unanswerable } from '../generate/index.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import { dataFindings } from '../plan/data-report.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Device } from '../plan/device.ts'
import type { Plan } from '../plan/plan.ts'
import {
  baseColumns,
  columnsOf,
  statistics,
  writePredictions,
  type Format,
} from '../predict/files.ts'
import { labelColumns, labelled, type Labelled } from '../predict/labels.ts'
import { askedOf, predict, type Asked, type Predicted } from '../predict/predict.ts'
import { matrixLines } from '../report/matrix.ts'
import { metricText } from '../report/progress.ts'
import { table } from '../report/table.ts'
import { plural } from '../report/units.ts'
import { limitLines } from './ask.ts'
import { deviceHere } from './card.ts'
import { flagOf, numberOf, textOf, type Exit, type Options, type Run } from './command.ts'
import { embedded } from './embeddings.ts'
import { engineFor } from './engine.ts'
import { runLabels } from './labels.ts'
import { nearby, refuse } from './open.ts'
import { splitIn, splitOf, whatOf, withRows } from './rows.ts'
import type { Terminal } from './terminal.ts'
import { planTrained, withSession } from './trained-session.ts'
import { openTrained, untuned, type Trained } from './trained.ts'

const limited = (x: Trained, o: Options): Trained => {
  const most = numberOf(o, 'maxNewTokens')
  const { generation } = x.config
  return most === undefined
    ? x
    : { ...x, config: { ...x.config, generation: { ...generation, max_new_tokens: most } } }
}

const nothing = (plan: Plan, o: Options): Issue =>
  plan.base.folder === null
    ? issue(`only the architecture of ${plan.base.name} is known here`, {
        path: 'base_model',
        expected: 'a folder with config.json, tokenizer.json and safetensors files',
      })
    : issue(`there are no rows to answer ${whatOf(splitIn(o))}`, {
        hint: 'name a file with --dataset, or other rows with --split',
      })

/** The data of the plan and its rows to answer. Left: there are none, or one that no model can answer. */
const rowsIn = (
  plan: Plan,
  o: Options,
): E.Either<Issues, { readonly data: Dataset; readonly asked: ReadonlyArray<Asked> }> => {
  const { data } = plan
  const asked = data === null ? [] : askedOf(plan, data, splitOf(splitIn(o)))
  if (data === null || asked.length === 0) return E.left(one(nothing(plan, o)))
  const why = unanswerable(
    asked.map(({ ids }, sequence) => ({ prompt: ids, sequence })),
    plan.base.spec.vocab,
  )
  return why === null ? E.right({ data, asked }) : E.left(one(why))
}

interface Outcome {
  readonly plan: Plan
  readonly predicted: Predicted
  /** Where the output is a label that stands in the answer. */
  readonly labels?: Labelled
}

/** Plans, loads and asks one model. */
const predictedBy = (
  trained: Trained,
  what: string,
  device: Device | null,
  o: Options,
  t: Terminal,
): TE.TaskEither<Issues, Outcome> =>
  pipe(
    TE.Do,
    TE.bind('asked', () => embedded(withRows(limited(trained, o), o, splitIn(o)), o, t)),
    TE.bind('plan', ({ asked }) => TE.fromEither(planTrained(asked, t, device, true))),
    TE.bind('rows', ({ plan }) => TE.fromEither(rowsIn(plan, o))),
    TE.let('grid', ({ plan, rows }) =>
      gridFor(
        plan.config,
        plan.base.spec,
        rows.asked.map((a) => a.ids.length),
      ),
    ),
    TE.bind('compiled', ({ plan, grid }) =>
      TE.fromEither(
        askingProgram(plan.base, plan.techniques, { ...plan.shapes, generate: grid }, [
          'evaluate',
          ...generationNames(grid),
        ]),
      ),
    ),
    TE.bind(
      'backend',
      ({ plan }) =>
        () =>
          engineFor(plan.config, o),
    ),
    TE.bind('predicted', ({ plan, rows, grid, compiled, backend }) => {
      const use = (session: Session): TE.TaskEither<Issues, Predicted> =>
        pipe(
          predict(session, plan, splitOf(splitIn(o)), grid, rows.asked, (p) =>
            t.status(`answering${what}: ${p.done}/${p.of}, ${p.tokens} tokens`),
          ),
          TE.mapLeft(one),
        )
      return withSession(backend, plan, compiled.program, trained, use)
    }),
    TE.map(({ plan, predicted }) => ({ plan, predicted })),
  )

/** What is read out of the answers in place of them, where the output is a label. */
const withLabels = ({ plan, predicted }: Outcome): Outcome => {
  const category = extracted(plan.config)
  if (category === null) return { plan, predicted }
  const labels = labelled(category, plan.data!.texts, predicted)
  return { plan, predicted: { ...predicted, metrics: labels.metrics }, labels }
}

/** Both models on the same rows; without a comparison the first alone. */
interface Both {
  readonly tuned: Outcome
  readonly base: Outcome | null
}

const notTuned = one(
  issue('there is nothing to compare: this model was never tuned', {
    hint: 'name a results folder, or leave --compare out',
  }),
)

const predictedByBoth = (
  trained: Trained,
  device: Device | null,
  o: Options,
  t: Terminal,
): TE.TaskEither<Issues, Both> => {
  const before = untuned(trained)
  if (!flagOf(o, 'compare'))
    return pipe(
      predictedBy(trained, '', device, o, t),
      TE.map((tuned) => ({ tuned, base: null })),
    )
  return before === null
    ? TE.left(notTuned)
    : pipe(
        TE.Do,
        TE.bind('base', () => predictedBy(before, ' with the base', device, o, t)),
        TE.bind('tuned', () => predictedBy(trained, ' with the tuned model', device, o, t)),
      )
}

const metricLines = ({ tuned, base }: Both): ReadonlyArray<string> => {
  const before = base?.predicted.metrics ?? null
  const value = (m: Predicted['metrics'], name: string): string => {
    const x = m[name]
    return x === undefined ? '' : metricText(name, x)
  }
  const [head, ...lines] = table(
    [
      { title: '', align: 'left' },
      ...(before === null ? [] : [{ title: 'base', align: 'right' as const }]),
      { title: before === null ? '' : 'tuned', align: 'right' },
    ],
    Object.keys(tuned.predicted.metrics).map((name) => [
      name,
      ...(before === null ? [] : [value(before, name)]),
      value(tuned.predicted.metrics, name),
    ]),
  )
  return before === null ? lines : [head!, ...lines]
}

const limitsOf = ({ predicted: { rows } }: Outcome) => ({
  cut: rows.filter((r) => r.answer.cut > 0).length,
  unfinished: rows.filter((r) => r.answer.stopped === 'length').length,
})

const json = (both: Both, findings: ReadonlyArray<string>): object => {
  const { rows, metrics } = both.tuned.predicted
  const { cut, unfinished } = limitsOf(both.tuned)
  return {
    rows: rows.length,
    ...metrics,
    ...(both.base === null ? {} : { base: both.base.predicted.metrics }),
    cut_prompts: cut,
    unfinished_answers: unfinished,
    data_findings: findings,
  }
}

const show = (both: Both, o: Options, t: Terminal): void =>
  t.out(
    `${plural(both.tuned.predicted.rows.length, 'row')} ${whatOf(splitIn(o))}`,
    ...metricLines(both),
    ...limitLines(limitsOf(both.tuned)).map(t.style.yellow),
    ...matrixOf(both.tuned, t),
  )

const matrixOf = ({ plan, labels }: Outcome, t: Terminal): ReadonlyArray<string> =>
  labels === undefined || labels.matrix === null
    ? []
    : [
        '',
        ...matrixLines(plan.config.output_features[0].name, labels.classes, labels.matrix, t.style),
      ]

const write = ({ tuned, base }: Both, o: Options): TE.TaskEither<Issue, ReadonlyArray<string>> => {
  const out = tuned.plan.config.output_features[0].name
  const columns = [
    ...(tuned.labels === undefined
      ? columnsOf(out, tuned.predicted)
      : labelColumns(out, tuned.predicted, tuned.labels)),
    ...(base === null ? [] : baseColumns(out, base.predicted)),
  ]
  const { labels } = tuned
  const more =
    labels === undefined ? {} : { labels: labels.classes, confusion_matrix: labels.matrix }
  const stats = statistics(out, tuned.predicted.metrics, more)
  const others =
    base === null
      ? []
      : [{ name: 'base_statistics.json', stats: statistics(out, base.predicted.metrics) }]
  const format = textOf(o, 'format') as Format
  return writePredictions(textOf(o, 'output')!, columns, stats, format, others)
}

export const run: Run = async (name, o, t) => {
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const trained = found.right
  return trained.config.model_type === 'ecd'
    ? runLabels(trained, true, o, t)
    : answered(trained, true, o, t)
}

/** Answers every row; `writes`: into files, too. */
export const answered = async (
  trained: Trained,
  writes: boolean,
  o: Options,
  t: Terminal,
): Promise<Exit> => {
  const device = await deviceHere(trained.config, o)
  const done = await predictedByBoth(trained, device, o, t)()
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  const both = { ...done.right, tuned: withLabels(done.right.tuned) }
  const findings = dataFindings(both.tuned.plan, trained.config).map(nearby)
  if (findings.length > 0) t.note(...findings.map(t.noteStyle.yellow))
  if (flagOf(o, 'json')) t.out(JSON.stringify(json(both, findings), null, 2))
  else show(both, o, t)
  if (!writes) return 0
  const wrote = await write(both, o)()
  if (E.isLeft(wrote)) return refuse([wrote.left], t)
  const folder = nearby(textOf(o, 'output')!)
  if (!flagOf(o, 'json')) t.out(`written to ${folder}: ${wrote.right.join(', ')}`)
  return 0
}
