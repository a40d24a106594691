/** `tunec evaluate`: metrics of a run, or of a base as it is, on rows that have answers. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { SplitName } from '../data/split.ts'
import {
  exactness,
  gridFor,
  optionsOf,
  questionsOf,
  unasked,
  type Exactness,
  type Grid,
} from '../generate/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { metricText } from '../report/progress.ts'
import { table } from '../report/table.ts'
import { plural } from '../report/units.ts'
import { blameRows, evaluateSamples } from '../train/evaluate.ts'
import { metricsOf, type Measured } from '../train/measured.ts'
import { flagOf, type Options, type Run } from './command.ts'
import { deviceHere } from './card.ts'
import { embedded } from './embeddings.ts'
import { engineFor } from './engine.ts'
import { limitLines } from './ask.ts'
import { runLabels } from './labels.ts'
import { answered } from './predict.ts'
import { nearby, refuse } from './open.ts'
import { comparable, comparing, goodAnswers } from './preferences.ts'
import { splitIn, splitOf, whatOf, withRows, type Wanted } from './rows.ts'
import type { Terminal } from './terminal.ts'
import { generationNames } from '../models/llama.ts'
import { askingProgram } from '../plan/asking.ts'
import { extracted } from '../config/outputs.ts'
import { dataFindings } from '../plan/data-report.ts'
import { planTrained, withSession } from './trained-session.ts'
import { openTrained } from './trained.ts'

interface Result {
  readonly counts: Measured
  readonly exact: Exactness | null
}

const measured =
  (
    plan: Plan,
    split: SplitName,
    grid: Grid | null,
    measure: ((session: Session) => TE.TaskEither<Issues, Measured>) | null,
    t: Terminal,
  ) =>
  (session: Session): TE.TaskEither<Issues, Result> => {
    const data = plan.data!
    const options = optionsOf(plan.config, plan.base.spec, data.tokenizer)
    t.status(`evaluating ${plural(data.samples[split].length, 'row')}`)
    return pipe(
      TE.Do,
      TE.bind('counts', (): TE.TaskEither<Issues, Measured> =>
        measure !== null
          ? measure(session)
          : TE.mapLeft(one)(
              evaluateSamples(
                session,
                plan.shapes,
                goodAnswers(data.samples[split]),
                blameRows(data.table),
              ),
            ),
      ),
      TE.bind('exact', () =>
        grid === null
          ? TE.right(null)
          : TE.mapLeft(one)(
              exactness(session, grid, questionsOf(data, split), options, (p) =>
                t.status(`answering: ${p.done}/${p.of}`),
              ),
            ),
      ),
    )
  }

const show = (
  { counts, exact }: Result,
  findings: ReadonlyArray<string>,
  what: string,
  o: Options,
  t: Terminal,
): void => {
  const metrics = {
    ...metricsOf(counts),
    ...(exact === null ? {} : { exact_match: exact.exactMatch }),
  }
  if (flagOf(o, 'json')) {
    const whole = {
      ...('metrics' in counts
        ? { rows: counts.rows }
        : { rows: counts.sequences, scored_tokens: counts.scored }),
      ...metrics,
      ...(exact === null ? {} : { cut_prompts: exact.cut, unfinished_answers: exact.unfinished }),
      data_findings: findings,
    }
    return t.out(JSON.stringify(whole, null, 2))
  }
  const rows = Object.entries(metrics).map(([name, value]) => [name, metricText(name, value)])
  const columns = [
    { title: '', align: 'left' },
    { title: '', align: 'right' },
  ] as const
  t.out(
    'metrics' in counts
      ? `${plural(counts.rows, 'row')} ${what}`
      : `${plural(counts.sequences, 'row')} ${what}, ${plural(counts.scored, 'scored token')}`,
    ...table(columns, rows).slice(1),
    ...(exact === null ? [] : limitLines(exact).map(t.style.yellow)),
  )
}

const rowsIn = (plan: Plan, split: SplitName, wanted: Wanted): E.Either<Issues, Plan> =>
  plan.data !== null && plan.data.samples[split].length > 0
    ? E.right(plan)
    : E.left(
        one(
          issue(
            plan.data === null ? 'there is no data to evaluate on' : `the ${wanted} split is empty`,
            { hint: 'name a file with --dataset, or other rows with --split' },
          ),
        ),
      )

export const run: Run = async (name, o, t) => {
  const wanted = splitIn(o)
  const split = splitOf(wanted)
  const found = await openTrained(name, o, t)()
  if (E.isLeft(found)) return refuse(found.left, t)
  const trained = found.right
  if (trained.config.model_type === 'ecd') return runLabels(trained, false, o, t)
  // Labels stand in answers: there is nothing to measure without them.
  if (extracted(trained.config) !== null) return answered(trained, false, o, t)
  const asked = await embedded(withRows(trained, o, wanted), o, t)()
  if (E.isLeft(asked)) return refuse(asked.left, t)
  const device = await deviceHere(trained.config, o)
  const opened = pipe(
    E.Do,
    E.bind('plan', () => planTrained(asked.right, t, device)),
    E.chainFirst(({ plan }) => rowsIn(plan, split, wanted)),
    E.chainFirst(({ plan: { data } }) => {
      const why = flagOf(o, 'generate') ? unasked(data!, questionsOf(data!, split)) : null
      return why === null ? E.right(undefined) : E.left(one(why))
    }),
    E.let('grid', ({ plan: { config, base, data } }) =>
      flagOf(o, 'generate')
        ? gridFor(
            config,
            base.spec,
            data!.samples[split].map((s) => s.prompt.length),
          )
        : null,
    ),
    E.bind('program', ({ plan, grid }) =>
      pipe(
        askingProgram(plan.base, plan.techniques, { ...plan.shapes, generate: grid }, [
          'evaluate',
          ...(grid === null ? [] : generationNames(grid)),
        ]),
        E.map((c) => c.program),
      ),
    ),
  )
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const { plan, grid, program } = opened.right
  const backend = await engineFor(plan.config, o)
  if (E.isLeft(backend)) return refuse(backend.left, t)
  const findings = dataFindings(plan, trained.config).map(nearby)
  if (findings.length > 0) t.note(...findings.map(t.noteStyle.yellow))
  const prefers = comparable(plan, trained)
  const compared = prefers === null ? null : comparing(prefers, plan, plan.data!.samples[split])
  const work = measured(plan, split, grid, compared?.measure ?? null, t)
  const first = compared?.first
  const done = await withSession(backend.right, plan, program, trained, work, first)()
  t.status(null)
  if (E.isLeft(done)) return refuse(done.left, t)
  show(done.right, findings, whatOf(wanted), o, t)
  return 0
}
