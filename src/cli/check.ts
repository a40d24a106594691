/** `tunec check`: everything that can be said about a job without running it. */
import * as E from 'fp-ts/lib/Either.js'
import { renderReport } from '../data/report-text.ts'
import { lacksMemory } from '../machine.ts'
import type { Issue } from '../issue.ts'
import { fetching } from '../models/base.ts'
import { dataReportOf } from '../plan/data-report.ts'
import { fitIssue, fitOf } from '../plan/fit.ts'
import { tooSmall } from '../plan/least.ts'
import type { Plan } from '../plan/plan.ts'
import { renderPlan } from '../report/plan.ts'
import { size } from '../report/units.ts'
import { promised } from '../train/state.ts'
import { holdsWeights } from '../train/weights-there.ts'
import type { Run } from './command.ts'
import { nearby, openHere, refuse, runnableFrom, showNotices } from './open.ts'

const dataLines = (plan: Plan): ReadonlyArray<string> => {
  const report = dataReportOf(plan)
  return report === null ? [] : renderReport(report)
}

/** What the run's memory lacks, the machine's or the GPU's; null: it is there. */
const lacking = ({ device, arenaBytes, totalBytes }: Plan): string | null => {
  if (device === null) return lacksMemory(arenaBytes)
  const { freeBytes: free, name } = device
  return free === null || totalBytes <= free
    ? null
    : `it takes ${size(totalBytes)} of device memory, and the ${name} has ${size(free)} free`
}

/** All that a run would need besides, or null. */
const missing = (plan: Plan): string | null => {
  const all = [lacking(plan), inputs(plan)].filter((x) => x !== null)
  return all.length === 0 ? null : all.join('; ')
}

const inputs = ({ base, data, techniques: { frozen } }: Plan): string | null =>
  base.folder === null
    ? `only the architecture of ${base.name} is known here; ${fetching(base.name)}to ${frozen === undefined ? 'train' : 'answer'}, name a folder with its files as base_model`
    : data === null
      ? `to ${frozen === undefined ? 'train' : 'answer'}, name a file as compiler.dataset, or with --dataset`
      : holdsWeights(base.folder)
        ? null
        : `to ${frozen === undefined ? 'train' : 'answer'}, put the weights into ${base.folder}, which holds none`

/** What the headers of the base's files do not promise, where there are such files. */
const unpromised = async ({ base, program }: Plan): Promise<Issue | null> => {
  if (base.folder === null || !holdsWeights(base.folder)) return null
  const told = await promised(base, program)()
  return E.isLeft(told) ? told.left : null
}

export const run: Run = async (file, o, t) => {
  const opened = await openHere(file, o, t)
  if (E.isLeft(opened)) return refuse(opened.left, t)
  showNotices(file, opened.right.notices, t)
  const planned = runnableFrom(opened.right, t)
  if (E.isLeft(planned)) return refuse(planned.left, t)
  const plan = planned.right
  const lines = dataLines(plan).map(nearby)
  const marked = lines.map((l) => (l.startsWith('!') ? t.style.yellow(l) : l))
  t.out(...renderPlan(plan, t.style), ...(lines.length === 0 ? [] : ['', ...marked]))
  const { budget } = plan
  const problem = (budget === null ? null : fitIssue(fitOf(plan, budget))) ?? tooSmall(plan)
  if (problem !== null) return refuse([problem], t)
  const broken = await unpromised(plan)
  if (broken !== null) return refuse([broken], t)
  const lacks = missing(plan)
  t.out(
    '',
    lacks === null
      ? t.style.green('nothing stands in the way of this job')
      : t.style.yellow(`the config is sound; ${lacks}`),
  )
  return 0
}
