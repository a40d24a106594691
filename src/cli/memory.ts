/** `tunec memory`: the ladder of a config, and whether it fits a budget. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Config } from '../config/index.ts'
import { issue, one, type Issues } from '../issue.ts'
import { fitIssue, fitOf, type Fit } from '../plan/fit.ts'
import { ladderOf, type Ladder } from '../plan/ladder.ts'
import type { Plan } from '../plan/plan.ts'
import { ladderSvg } from '../report/ladder-svg.ts'
import { ladderJson, renderLadder } from '../report/ladder.ts'
import { longRows } from '../report/plan.ts'
import { size } from '../report/units.ts'
import { flagOf, numberOf, textOf, type Options, type Run } from './command.ts'
import { openHere, planFrom, refuse, showNotices } from './open.ts'
import type { Terminal } from './terminal.ts'

/** Shapes given on the command line stand for those that the data would give. */
const reshaped =
  (o: Options) =>
  (c: Config): Config => {
    const [length, rows] = [numberOf(o, 'sequenceLength'), numberOf(o, 'batch')]
    const cap = c.preprocessing.global_max_sequence_length
    return {
      ...c,
      preprocessing: {
        ...c.preprocessing,
        global_max_sequence_length: length ?? cap,
      },
      compiler: {
        ...c.compiler,
        // Without its data a config is planned for the longest rows it allows.
        dataset:
          textOf(o, 'dataset') === undefined && length !== undefined ? null : c.compiler.dataset,
        row_length: length ?? c.compiler.row_length,
        micro_batch_rows: rows ?? c.compiler.micro_batch_rows,
      },
    }
  }

const writeSvg = (file: string, l: Ladder): E.Either<Issues, void> =>
  E.tryCatch(
    () => fs.writeFileSync(file, ladderSvg(l)),
    (e) =>
      one(
        issue(`the drawing cannot be written: ${e instanceof Error ? e.message : String(e)}`, {
          file,
        }),
      ),
  )

const fitJson = (f: Fit): object => ({
  budget: f.budget,
  fits: f.fits,
  changes: [...f.single, ...(f.together === null ? [] : [f.together])],
})

const show = (plan: Plan, l: Ladder, fit: Fit | null, o: Options, t: Terminal): void => {
  if (flagOf(o, 'json')) {
    const whole = { ...ladderJson(l), ...(fit === null ? {} : { fit: fitJson(fit) }) }
    return t.out(JSON.stringify(whole, null, 2))
  }
  t.out(...renderLadder(l, t.style))
  const rows = longRows(plan)
  if (rows !== null) t.out('', `${t.style.bold('rows')} ${rows} (here also --sequence-length)`)
  if (fit?.fits === true)
    t.out('', t.style.green(`fits: ${size(fit.total)} of ${size(fit.budget)}`))
}

const planAndLadder = async (file: string, o: Options, t: Terminal) =>
  pipe(
    await openHere(file, o, t),
    E.chainFirst(({ notices }) =>
      E.right(flagOf(o, 'json') ? undefined : showNotices(file, notices, t)),
    ),
    E.chain((opened) => planFrom(opened, t, reshaped(o))),
    E.bindTo('plan'),
    E.bind('ladder', ({ plan }) => ladderOf(plan, t.clock)),
  )

/** The budget asked for, else the config's own. */
const budgetOf = (o: Options, plan: Plan): number | null => numberOf(o, 'budget') ?? plan.budget

export const run: Run = async (file, o, t) => {
  const made = await planAndLadder(file, o, t)
  if (E.isLeft(made)) return refuse(made.left, t)
  const { plan, ladder } = made.right
  const budget = budgetOf(o, plan)
  const fit = budget === null ? null : fitOf(plan, budget)
  show(plan, ladder, fit, o, t)
  const svg = textOf(o, 'svg')
  const drawn = svg === undefined ? E.right(undefined) : writeSvg(svg, ladder)
  if (E.isLeft(drawn)) return refuse(drawn.left, t)
  const problem = fit === null ? null : fitIssue(fit)
  return problem === null ? 0 : refuse([problem], t)
}
