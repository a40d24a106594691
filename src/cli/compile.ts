/** `tunec compile`: a config becomes a plan, and every step of the way can be looked at. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { assumed, type Card } from '../../backends/cuda/lower/targets.ts'
import { shortName, type Stage } from '../../passes/pass.ts'
import { nearest } from '../config/nearest.ts'
import { issue, type Issue } from '../issue.ts'
import { diffStages, stageFile, stageText, stageTitle, writeTrace } from '../plan/dump.ts'
import { writePlan } from '../plan/file.ts'
import { fitIssue, fitOf } from '../plan/fit.ts'
import { cardNamed, writeKernels } from '../plan/kernels.ts'
import type { Plan } from '../plan/plan.ts'
import { renderFunctions, renderPlan, renderTrace } from '../report/plan.ts'
import { plural } from '../report/units.ts'
import { storedAs } from '../train/given.ts'
import { cardHere } from './card.ts'
import { textOf, type Exit, type Options, type Run } from './command.ts'
import { foresee } from '../train/foresee.ts'
import { openPlan, refuse } from './open.ts'
import type { Terminal } from './terminal.ts'

/** Index of a pass in the trace, by the word before its bracket. */
const stageNamed = (trace: ReadonlyArray<Stage>, name: string): E.Either<Issue, number> => {
  const names = trace.map((s) => shortName(s.pass))
  const at = names.indexOf(name)
  if (at >= 0) return E.right(at)
  const close = nearest(name, names)
  return E.left(
    issue(`this config has no pass "${name}"`, {
      expected: `one of ${names.join(', ')}`,
      ...(close === undefined ? {} : { hint: `did you mean ${close}?` }),
    }),
  )
}

const showDiff = (trace: ReadonlyArray<Stage>, name: string, t: Terminal): Exit => {
  const at = stageNamed(trace, name)
  if (E.isLeft(at)) return refuse([at.left], t)
  if (at.right === 0) return refuse([issue(`${name} is the start: nothing comes before it`)], t)
  const { dim, green, red, bold } = t.style
  t.out(dim(`// ${stageTitle(trace, at.right)}`))
  const paint = { added: green, removed: red, heading: bold }
  const text = diffStages(trace[at.right - 1]!.program, trace[at.right]!.program, paint)
  t.out(text === '' ? dim('(nothing changed but arena offsets)') : text.trimEnd())
  return 0
}

const showStage = (trace: ReadonlyArray<Stage>, name: string, t: Terminal): Exit => {
  const at = stageNamed(trace, name)
  if (E.isLeft(at)) return refuse([at.left], t)
  t.out(stageText(trace, at.right).trimEnd())
  return 0
}

const summary = (plan: Plan, t: Terminal): void =>
  t.out(
    ...renderPlan(plan, t.style),
    '',
    ...renderTrace(plan, t.style),
    '',
    ...renderFunctions(plan, t.style),
  )

/** The stages to be written: all, or those up to the one to stop after. */
const kept = (trace: ReadonlyArray<Stage>, stop: string | undefined): ReadonlyArray<Stage> => {
  const at = stop === undefined ? E.left(null) : stageNamed(trace, stop)
  return E.isLeft(at) ? trace : trace.slice(0, at.right + 1)
}

/** Without a name: the GPU's own card where one works here, else the one that plans are made for. */
const cardFor = async (
  arch: string | undefined,
): Promise<E.Either<Issue, { readonly card: Card; readonly why: string }>> => {
  const named = (card: Card, why: string) => ({ card, why: `${card.name}, ${why}` })
  if (arch !== undefined)
    return pipe(
      cardNamed(arch),
      E.map((card) => named(card, 'as --arch asks')),
    )
  const here = await cardHere()
  return E.right(
    E.isRight(here)
      ? named(here.right, 'the GPU here')
      : named(assumed, 'because no GPU works here; --arch names another'),
  )
}

const dumpKernels = async (
  plan: Plan,
  folder: string,
  arch: string | undefined,
  t: Terminal,
): Promise<Issue | null> => {
  const chosen = await cardFor(arch)
  if (E.isLeft(chosen)) return chosen.left
  const { card, why } = chosen.right
  const stored = await storedAs(plan.base)()
  if (E.isLeft(stored)) return stored.left
  const done = await writeKernels(plan.program, card, plan.room, stored.right, folder)()
  if (E.isLeft(done)) return done.left
  const [lists, sources] = [/\.launches$/, /\.cu$/].map((e) => done.right.filter((n) => e.test(n)))
  t.out(
    '',
    `launches for sm_${card.target.arch} (${why}) lie in ${folder}: ${lists!.join(', ')}, of program.ir; and ${plural(sources!.length, 'CUDA source')}`,
  )
  return null
}

/** Writes what was asked for, and says where. */
const write = async (plan: Plan, o: Options, t: Terminal): Promise<Issue | null> => {
  const [folder, output] = [textOf(o, 'dumpIr'), textOf(o, 'output')]
  if (folder !== undefined) {
    const trace = kept(plan.trace, textOf(o, 'stopAfter'))
    const done = await writeTrace(trace, folder)()
    if (E.isLeft(done)) return done.left
    const [first, last] = [0, trace.length - 1].map((i) => stageFile(trace, i))
    t.out('', `the program after every pass lies in ${folder} (${first} … ${last})`)
  }
  const models = textOf(o, 'emit')
  if (models !== undefined) {
    const { writeModels } = await import('../plan/models.ts')
    const done = await writeModels(plan.program, models)()
    if (E.isLeft(done)) return done.left
    t.out('', `the ONNX models lie in ${models}: ${done.right.join(', ')}`)
  }
  const kernels = textOf(o, 'dumpKernels')
  if (kernels !== undefined) {
    const failed = await dumpKernels(plan, kernels, textOf(o, 'arch'), t)
    if (failed !== null) return failed
  }
  if (output !== undefined) {
    const done = await writePlan(plan, output)()
    if (E.isLeft(done)) return done.left
    const next = plan.techniques.frozen === undefined ? `: tunec train ${output}` : ''
    t.out('', `the plan lies in ${output}${next}`)
  }
  return null
}

export const run: Run = async (file, o, t) => {
  if (textOf(o, 'arch') !== undefined && textOf(o, 'dumpKernels') === undefined)
    return refuse([issue('--arch says what --dump-kernels compiles for, and stands alone here')], t)
  // A plan that is kept tells the files of its base, weights too.
  const need = textOf(o, 'output') === undefined ? 'plan' : 'kept plan'
  const opened = await openPlan(file, o, t, foresee, need)
  if (E.isLeft(opened)) return refuse(opened.left, t)
  const plan = opened.right
  const [diff, stop] = [textOf(o, 'diff'), textOf(o, 'stopAfter')]
  if (diff === undefined && stop === undefined) summary(plan, t)
  const failed = await write(plan, o, t)
  if (failed !== null) return refuse([failed], t)
  if (stop !== undefined && showStage(plan.trace, stop, t) !== 0) return 1
  if (diff !== undefined && showDiff(plan.trace, diff, t) !== 0) return 1
  const { budget } = plan
  const problem = budget === null ? null : fitIssue(fitOf(plan, budget))
  return problem === null ? 0 : refuse([problem], t)
}
