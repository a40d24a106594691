/** Every optimizer on a backend, step after step as the definition has it: part of the conformance suite. */
import type { Backend } from '../backends/backend.ts'
import { eightBit } from '../passes/index.ts'
import { curves, steps, stepping, stepsOn } from './optimizer-job.ts'

type Agree = (what: string, got: ArrayLike<number>, want: ArrayLike<number>, bound: number) => void

export const everyOptimizer = async (backend: Backend, agree: Agree): Promise<void> => {
  for (const { settings, rates } of curves.cases) {
    const p = stepping({ ...settings, clip: 1 })
    const [got, want] = [
      await stepsOn(backend, p, rates),
      steps(p, rates.map(Math.fround), 'typed'),
    ]
    for (const [k, state] of want.entries())
      for (const [name, x] of Object.entries(state))
        agree(`${JSON.stringify(settings)} step ${k} ${name}`, got[k]![name]!, x, 1e-5)
  }
  // A last bit may move a code by one, and with it the step of one value.
  const { settings, rates } = curves.cases.find((c) => c.settings.kind === 'adam')!
  const p = stepping({ ...settings, clip: 1 }, eightBit({ least: 1 }))
  const [got, want] = [await stepsOn(backend, p, rates), steps(p, rates.map(Math.fround), 'typed')]
  for (const name of ['p0.weight', 'p1.weight', 'adam.m.p0.weight', 'adam.v_scales.p0.weight'])
    agree(`8-bit Adam: ${name}`, got.at(-1)![name]!, want.at(-1)![name]!, 1e-2)
}
