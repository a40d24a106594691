/** Preference steps of whole programs on the other backends: launches of a GPU, emulated, and TensorFlow's ops. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Backend, Feeds } from '../backends/backend.ts'
import { decode } from '../backends/bytes.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import { tfjs } from '../backends/tfjs/index.ts'
import type { Plan } from '../src/plan/plan.ts'
import { preferenceOf } from '../src/preference/preference.ts'
import { preferenceTask } from '../src/preference/task.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'
import { noTfjs } from './tfjs-here.ts'
import { planFor, samplesOf, withBase, yaml, type Rows } from './train-job.ts'

const rows: Rows = {
  train: samplesOf(4).map((s, i) => ({ ...s, rejected: [10 + ((s.target[0]! + i) % 7), 2] })),
  validation: [],
  test: [],
}
const labelled: Rows = {
  ...rows,
  train: samplesOf(4).map((s, i) => ({ ...s, desirable: i % 2 === 0, other: s.target })),
}

interface Seen {
  readonly loss: number
  readonly nlls: ReadonlyArray<number>
  readonly gradients: ReadonlyArray<readonly [string, ArrayLike<number>]>
}

/** One step's micro-steps: pairs that stand where no reference would have them. */
const seenBy = async (backend: Backend, plan: Plan): Promise<Seen> => {
  const session = right(await backend.prepare(plan.program)())
  right(await initializePlan(plan, session)())
  const p = preferenceOf(plan.config.trainer)!
  const task = preferenceTask(p, plan.shapes, session, ({ row }) => ({
    nlls: [6 + row, 7 - row],
    other: 5,
  }))
  const { micros } = right(await task.feed(plan.data!.samples.train)())
  const outs: Feeds[] = []
  for (const { inputs } of micros) outs.push(right(await session.run('micro', inputs)()))
  const gradients = []
  for (const s of plan.program.state.filter((x) => x.role === 'gradient'))
    gradients.push([s.name, decode(s.type, right(await session.read(s.name)()))] as const)
  right(await session.close()())
  return {
    loss: outs.reduce((n, o) => n + o['loss']![0]!, 0),
    nlls: outs.flatMap((o) => [...o['sequence_nll']!]),
    gradients,
  }
}

const plans = [
  { type: 'dpo', rows, compute: 'float32', bound: 2e-4 },
  { type: 'kto', rows: labelled, compute: 'float32', bound: 2e-4 },
  { type: 'orpo', rows, compute: 'float32', bound: 2e-4 },
  { type: 'dpo', rows, compute: 'float16', bound: 2e-2 },
] as const

const others: ReadonlyArray<readonly [string, string | false, () => Backend]> = [
  ['emulated sm_75', noCompiler, () => emulated(cardOf('sm_75')!.target)],
  ['tfjs', noTfjs, () => tfjs],
]

for (const { type, rows: data, compute, bound } of plans)
  test(`${type} in ${compute}: loss, sequences and gradients as by the definition`, () =>
    withBase(async (folder) => {
      const text = yaml('', `compiler: { compute_dtype: ${compute} }`)
      const plan = planFor(folder, text.replace('type: finetune', `type: ${type}`), data, [2, 16])
      const want = await seenBy(reference, plan)
      for (const [name, why, of] of others) {
        if (why !== false) continue
        const got = await seenBy(of(), plan)
        assert.ok(
          Math.abs(got.loss / want.loss - 1) < bound,
          `${name} loss ${got.loss} ${want.loss}`,
        )
        assert.ok(relativeError(got.nlls, want.nlls) < bound, `${name} sequences`)
        got.gradients.forEach(([state, g], i) => {
          const gap = relativeError(g, want.gradients[i]![1])
          assert.ok(gap < 5 * bound, `${name} ${state}: ${gap}`)
        })
      }
    }))
