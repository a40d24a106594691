/** Parameters whose gradients are inputs: an optimizer's steps, by the evaluators or on a backend. */
import fs from 'node:fs'
import path from 'node:path'
import type { Backend } from '../backends/backend.ts'
import { decode, encode } from '../backends/bytes.ts'
import { builder, building } from '../ir/build.ts'
import type { Program, Recipe, State } from '../ir/graph.ts'
import { tensor } from '../ir/type.ts'
import { differentiate, optimizer, schedule, simplify, type Optimizer } from '../passes/index.ts'
import type { Pass } from '../passes/pass.ts'
import { run, through, type Named, type World } from './laws.ts'
import { right } from './right.ts'

export interface Curve {
  readonly name: string
  readonly settings: Optimizer
  readonly rates: ReadonlyArray<number>
  /** Every parameter after each step. */
  readonly curve: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>
}

interface Curves {
  readonly shapes: ReadonlyArray<ReadonlyArray<number>>
  readonly start: ReadonlyArray<ReadonlyArray<number>>
  /** Of each step, of every parameter. */
  readonly gradients: ReadonlyArray<ReadonlyArray<ReadonlyArray<number>>>
  readonly cases: ReadonlyArray<Curve>
}

export const curves = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'fixtures', 'optimizers', 'curves.json'), 'utf8'),
) as Curves

const loads = (key: string): Recipe => ({ _tag: 'load', key })

/** Σ p·g over all, whose gradient is g. */
export const slope = (shapes = curves.shapes): Program => {
  const state = shapes.map((shape, i): State => ({
    name: `p${i}.weight`,
    type: tensor('f32', ...shape),
    role: 'train',
    recipe: loads(`p${i}`),
  }))
  const fn = right(
    building(() => {
      const b = builder()
      const terms = state.map((s, i) => b.alg.sum(b.alg.mul(b.read(s), b.input(`g${i}`, s.type))))
      const loss = terms.reduce((x, y) => b.alg.add(x, y))
      return b.done({
        name: 'step',
        outs: [{ name: 'loss', id: loss }],
        updates: [],
        minimizes: 'loss',
      })
    }),
  )
  return { name: 'slope', state, fns: [fn] }
}

/** Passes that follow the optimizer stand before `simplify`. */
export const stepping = (o: Optimizer, ...after: ReadonlyArray<Pass>): Program =>
  through(differentiate, optimizer(o), ...after, simplify)(slope())

export const worldAt = (step: number, lr: number, gradients = curves.gradients): World => ({
  source: (key) => Float64Array.from(curves.start[Number(key.slice(1))]!),
  input: ({ name }) =>
    name === 'lr'
      ? Float64Array.of(lr)
      : name === 'step'
        ? Float64Array.of(step)
        : Float64Array.from(gradients[step - 1]![Number(name.slice(1))]!),
})

/** State after each step, in f64 or rounded as the types say. */
export const steps = (
  p: Program,
  rates: ReadonlyArray<number>,
  arithmetic: 'real' | 'typed',
): ReadonlyArray<Named> => {
  const all: Named[] = []
  for (const [i, lr] of rates.entries())
    all.push({
      ...all.at(-1),
      ...run(p, worldAt(i + 1, lr), 'step', arithmetic, all.at(-1)).updates,
    })
  return all
}

/** The same steps on a backend, from the same start. */
export const stepsOn = async (
  backend: Backend,
  p: Program,
  rates: ReadonlyArray<number>,
): Promise<ReadonlyArray<Named>> => {
  const planned = through(schedule)(p)
  const session = right(await backend.prepare(planned)())
  for (const s of planned.state) {
    const values =
      s.recipe._tag === 'fill'
        ? new Float64Array(s.type.shape.reduce((a, b) => a * b, 1)).fill(s.recipe.value)
        : Float64Array.from(curves.start[Number(s.name[1])]!)
    right(await session.write(s.name, encode(s.type, values))())
  }
  const all: Named[] = []
  for (const [i, lr] of rates.entries()) {
    const w = worldAt(i + 1, lr)
    const feeds = Object.fromEntries(
      planned.fns[0]!.inputs.map((x) => [x.name, Float32Array.from(w.input(x))]),
    )
    right(await session.run('step', feeds)())
    const read: Record<string, Float64Array> = {}
    for (const s of planned.state)
      read[s.name] = Float64Array.from(decode(s.type, right(await session.read(s.name)())))
    all.push(read)
  }
  right(await session.close()())
  return all
}
