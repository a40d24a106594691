/** The same training steps in two sessions: adapters are byte-identical. */
import { createHash } from 'node:crypto'
import type { Backend, Session } from '../../backends/backend.ts'
import { fnOf, type Program } from '../../ir/graph.ts'
import type { Config } from '../../src/config/index.ts'
import { issue } from '../../src/issue.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { runOfPlan, stepsOf } from '../../src/train/schedule.ts'
import { initializePlan } from '../../src/train/initialize.ts'
import { optimizerStep } from '../../src/train/step.ts'
import { taskOf } from '../../src/train/task.ts'
import { right } from '../../test/right.ts'
import { planFor, withBase, yaml } from '../../test/train-job.ts'
import { BUNDLED, computing, examplePlan } from './jobs.ts'
import { withSession, type Stand } from './stand.ts'
import type { Outcome } from './table.ts'

/** SHA-256 of all that training changes. */
const hashOf = async (s: Session, p: Program): Promise<string> => {
  const hash = createHash('sha256')
  for (const x of p.state.filter((y) => y.role === 'train' || y.role === 'optimizer'))
    hash.update(right(await s.read(x.name)()))
  return hash.digest('hex')
}

interface Trained {
  readonly hash: string
  readonly first: number
  readonly last: number
  readonly skipped: number
  readonly ms: number
}

const trained = (backend: Backend, plan: Plan, count: number): Promise<Trained> =>
  withSession(backend, plan.program, async (s) => {
    right(await initializePlan(plan, s)())
    const data = plan.data!
    const losses: number[] = []
    let applied = 0
    const begun = performance.now()
    for (const step of stepsOf(runOfPlan(plan, data))) {
      if (step.index === count) break
      const done = right(
        await optimizerStep(s, {
          samples: step.samples.map((i) => data.samples.train[i]!),
          feed: taskOf(plan).feed,
          lr: 0.002,
          t: applied + 1,
          seed: step.index,
          takes: new Set(fnOf(plan.program, 'micro')!.inputs.map((i) => i.name)),
          blame: (what, value) => issue(`${what} is ${value}`),
        })(),
      )
      applied += done.applied ? 1 : 0
      losses.push(done.loss)
    }
    return {
      hash: await hashOf(s, plan.program),
      first: losses[0]!,
      last: losses.at(-1)!,
      skipped: losses.length - applied,
      ms: (performance.now() - begun) / losses.length,
    }
  })

type Compute = Config['compiler']['compute_dtype']

/** With dropout, which every kernel of the adapters then draws. */
const withDropout = (c: Config): Config => ({
  ...c,
  adapter: c.adapter === null ? null : { ...c.adapter, dropout: 0.1 },
})

const tinyYaml = (compute: Compute): string =>
  yaml('', `compiler: {compute_dtype: ${compute}}\nquantization: {bits: 4}`).replace(
    'dropout: 0',
    'dropout: 0.1',
  )

export const repeat = async (
  stand: Stand,
  o: { readonly steps: number; readonly computes: ReadonlyArray<string> },
): Promise<Outcome> => {
  const rows: string[][] = []
  const faults: string[] = []
  const compare = async (compute: string, plan: Plan): Promise<void> => {
    const [a, b] = [
      await trained(stand.backend, plan, o.steps),
      await trained(stand.backend, plan, o.steps),
    ]
    const same = a.hash === b.hash
    if (!same) faults.push(`${compute}: ${a.hash} and ${b.hash}`)
    if (!(a.last < a.first)) faults.push(`${compute}: the loss rose from ${a.first} to ${a.last}`)
    rows.push([
      compute,
      ...[a.first, a.last].map((x) => x.toFixed(4)),
      String(a.skipped),
      a.ms.toFixed(2),
      same ? a.hash.slice(0, 32) : 'DIFFERENT',
    ])
  }
  for (const compute of o.computes as ReadonlyArray<Compute>)
    if (stand.emulated)
      await withBase((folder) => compare(compute, planFor(folder, tinyYaml(compute))))
    else
      await compare(
        compute,
        examplePlan(BUNDLED, stand.device, (c) => withDropout(computing(compute)(c))),
      )
  return {
    columns: [
      `${o.steps} steps on ${stand.name}`,
      ...['first loss', 'last', 'skipped', 'ms a step', 'sha256 of weights and moments, twice'],
    ],
    rows,
    faults,
  }
}
