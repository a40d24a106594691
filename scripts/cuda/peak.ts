/** Predicted against measured device memory, at three budgets for each shape. */
import { execFileSync } from 'node:child_process'
import { prepareCuda } from '../../backends/cuda/index.ts'
import { lower } from '../../backends/cuda/lower/lower.ts'
import { WORKSPACE } from '../../backends/cuda/session.ts'
import { fnOf } from '../../ir/graph.ts'
import type { Config } from '../../src/config/index.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { right } from '../../test/right.ts'
import { feedsFor } from './feeds.ts'
import { BUNDLED, computing, examplePlan, LLAMA } from './jobs.ts'
import type { Stand } from './stand.ts'
import type { Outcome } from './table.ts'

const gib = (bytes: number): string => (bytes / 2 ** 30).toFixed(3)

const long =
  (base_model: string) =>
  (c: Config): Config => ({
    ...c,
    base_model,
    compiler: { ...c.compiler, dataset: null, row_length: 2048, micro_batch_rows: 1 },
    preprocessing: { ...c.preprocessing, global_max_sequence_length: 2048 },
  })

interface Shape {
  readonly file: string
  readonly change: (c: Config) => Config
  /** Bytes; null: all there is. */
  readonly budgets: ReadonlyArray<number | null>
}

export const shapes: Readonly<Record<string, Shape>> = {
  'llama2-7b': {
    file: LLAMA,
    change: (c) => computing('bfloat16')(long('meta-llama/Llama-2-7b-hf')(c)),
    budgets: [null, 8e9, 5.6e9],
  },
  'llama3-8b': {
    file: LLAMA,
    change: (c) => computing('bfloat16')(long('meta-llama/Meta-Llama-3-8B')(c)),
    budgets: [null, 11e9, 8.5e9],
  },
  bundled: { file: BUNDLED, change: computing('bfloat16'), budgets: [null, 0.85e9, 0.78e9] },
}

const planned = (s: Shape, budget: number | null, stand: Stand): Plan =>
  examplePlan(s.file, stand.device, (c) => {
    const changed = s.change(c)
    return { ...changed, compiler: { ...changed.compiler, memory_budget: budget } }
  })

/** MiB in use by the driver's own account, before this process has a context; null where nvidia-smi is missing. */
const smiUsed = (): number | null => {
  try {
    const query = ['--query-gpu=memory.used', '--format=csv,noheader,nounits', '-i', '0']
    return Number(execFileSync('nvidia-smi', query, { encoding: 'utf8' }).trim()) * 2 ** 20
  } catch {
    return null
  }
}

interface Measured {
  /** Allocated by the session since its context was there. */
  readonly all: number
  /** In use on the device before, by others. */
  readonly others: number | null
}

const measure = async (plan: Plan): Promise<Measured> => {
  const others = smiUsed()
  const s = right(prepareCuda(plan.program, plan.room))
  const { gpu } = s.device
  for (const fn of ['micro', 'update', 'evaluate'])
    if (fnOf(plan.program, fn) !== undefined)
      right(await s.run(fn, feedsFor(plan.program, fn, plan.base.spec.vocab, plan.shapes.length))())
  const { total, free } = right(gpu.memory())
  right(await s.close()())
  return { all: total - free, others }
}

export const peak = async (
  stand: Stand,
  o: { readonly shapes: ReadonlyArray<string> },
): Promise<Outcome> => {
  const rows: string[][] = []
  const faults: string[] = []
  const notes: string[] = []
  const context = stand.device.calibration.contextBytes
  notes.push(
    `context and libraries: ${gib(context)} GiB, ${stand.device.measured ? 'measured here' : 'assumed'}; workspace ${gib(WORKSPACE)} GiB`,
  )
  for (const name of o.shapes) {
    const shape = shapes[name]
    if (shape === undefined) throw new Error(`no shape ${name}: ${Object.keys(shapes).join(', ')}`)
    for (const budget of shape.budgets) {
      const plan = planned(shape, budget, stand)
      const label = `${name} ${budget === null ? 'all there is' : `${budget / 1e9} GB`}`
      const fits = budget === null || plan.totalBytes <= budget
      const { arenaBytes } = lower(plan.program, { ...stand.device.target, ...plan.room })
      if (arenaBytes !== plan.arenaBytes) faults.push(`${label}: the arena has ${arenaBytes} bytes`)
      // Nothing to measure where there is no card.
      const m = stand.emulated ? null : await measure(plan)
      const stated = plan.arenaBytes + WORKSPACE
      const off = m === null ? 0 : m.all - plan.totalBytes
      // No more than 1 % of what is predicted beside the context, and the context itself.
      if (m !== null && (m.all > 1.01 * stated + context || m.all < 0.99 * stated))
        faults.push(`${label}: predicted ${plan.totalBytes}, in use ${m.all}`)
      if (budget !== null && fits && m !== null && m.all > budget)
        faults.push(`${label}: fits by the plan, and takes ${m.all}`)
      rows.push([
        label,
        fits ? 'fits' : 'does not fit',
        `${plan.shapes.rows}x${plan.shapes.length} ${plan.techniques.recompute._tag}`,
        gib(plan.arenaBytes),
        gib(plan.totalBytes),
        ...(m === null
          ? ['-', '-', '-']
          : [
              gib(m.all),
              `${((100 * off) / plan.totalBytes).toFixed(2)} %`,
              m.others === null ? '-' : gib(m.others),
            ]),
      ])
    }
  }
  return {
    columns: [
      `GiB on ${stand.name}`,
      ...['plan', 'grid', 'arena', 'predicted', 'in use', 'off', 'before (smi)'],
    ],
    rows,
    notes,
    faults,
  }
}
