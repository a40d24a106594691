/** Laws of a training step: the update, accumulation and packing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import type { Adam } from '../ir/algebra.ts'
import { builder } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { tensor } from '../ir/type.ts'
import {
  accumulate,
  differentiate,
  lora,
  optimizer,
  simplify,
  type Optimizer,
} from '../passes/index.ts'
import { compile, type Pass } from '../passes/pass.ts'
import { trainable } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import { agree, close, run, stateTensor, through, worldOf, type Named, type World } from './laws.ts'
import {
  adamw,
  forward,
  pack,
  plainSpec,
  samples,
  scored,
  spec,
  targets,
  worldOn,
  type Sample,
} from './programs.ts'

const adapters = lora({ r: 2, alpha: 3, dropout: 0, targets })
const dropping = lora({ r: 2, alpha: 3, dropout: 0.4, targets })
const settings: fc.Arbitrary<Adam & { readonly clip: number | null }> = fc
  .record({
    clip: fc.constantFrom(null, 0.3, 1e6),
    decoupled: fc.boolean(),
    decay: fc.constantFrom(0, 0.1),
  })
  .map((o) => ({ ...adamw, ...o }))
const batches = samples(4).filter((all) => scored(all) > 0)
/** Equal as numbers; NaN equals NaN. */
const equal = close(0, 0)

/** The update in plain loops: global norm, clip, then torch's Adam on every element. */
const plainUpdate = (
  o: Adam & { readonly clip: number | null },
  grads: Named,
  before: Named,
  lr: number,
  k: number,
) => {
  const all = Object.values(grads).flatMap((g) => [...g])
  const norm = Math.sqrt(all.reduce((s, g) => s + g ** 2, 0))
  const clip = o.clip !== null && o.clip / (norm + 1e-6) < 1 ? o.clip / (norm + 1e-6) : 1
  const after: Record<string, Float64Array> = {}
  for (const [name, g0] of Object.entries(grads)) {
    const [p, m, v] = [name, `adam.m.${name}`, `adam.v.${name}`].map((n) =>
      Float64Array.from(before[n]!),
    ) as [Float64Array, Float64Array, Float64Array]
    for (let i = 0; i < p.length; i++) {
      let g = g0[i]! * clip
      if (o.decoupled) p[i]! -= lr * o.decay * p[i]!
      else g += o.decay * p[i]!
      m[i] = o.beta1 * m[i]! + (1 - o.beta1) * g
      v[i] = o.beta2 * v[i]! + (1 - o.beta2) * g * g
      const [mHat, vHat] = [m[i]! / (1 - o.beta1 ** k), v[i]! / (1 - o.beta2 ** k)]
      p[i]! -= (lr * mHat) / (Math.sqrt(vHat) + o.eps)
    }
    Object.assign(after, { [name]: p, [`adam.m.${name}`]: m, [`adam.v.${name}`]: v })
  }
  return { norm, after }
}

const gradients = (outs: Named): Named =>
  Object.fromEntries(
    Object.entries(outs).flatMap(([k, v]) => (k.startsWith('grad.') ? [[k.slice(5), v]] : [])),
  )

test('optimizer: several steps equal clipping and torch’s Adam in plain loops', () => {
  fc.assert(
    fc.property(spec, batches, settings, fc.boolean(), (s, all, o, full) => {
      const rows = pack(all)
      const start = forward(s, rows.length)
      const p = through(...(full ? [] : [adapters]), differentiate, optimizer(o))(start)
      let carried: Named = {}
      for (let k = 1; k <= 3; k++) {
        const w = worldOn(5, rows, scored(all), { step: k })
        const { outs, updates } = run(p, w, 'step', 'real', carried)
        const before = { ...initialOf(p, w), ...carried }
        const want = plainUpdate(o, gradients(outs), before, 0.0625, k)
        holds(Math.abs(outs['grad_norm']![0]! - want.norm) <= 1e-12 * (1 + want.norm))
        holds(agree(close(1e-9), want.after, updates), `step ${k}`)
        holds(Object.keys(updates).length === Object.keys(want.after).length)
        carried = updates
      }
    }),
    runs(15),
  )
})

/** Trainable state and moments before the first step. */
const initialOf = (p: Program, w: World): Named =>
  Object.fromEntries(
    p.state
      .filter((s) => s.role === 'train' || s.role === 'optimizer')
      .map((s) => [s.name, stateTensor(w, s, 'real').data]),
  )

const step = (o: Optimizer): ReadonlyArray<Pass> => [differentiate, optimizer(o), simplify]

/** Micro-steps over `parts`, then the update. */
const accumulated = (p: Program, parts: ReadonlyArray<World>, mode: 'typed' | 'real') => {
  let carried: Named = {}
  let loss = 0
  for (const w of parts) {
    const r = run(p, w, 'micro', mode, carried)
    carried = { ...carried, ...r.updates }
    loss += r.outs['loss']![0]!
  }
  return { loss, ...run(p, parts[0]!, 'update', mode, carried) }
}

/** Every row of a batch as a batch of its own: unequal numbers of scored tokens, one divisor. */
const byRow = (rows: ReadonlyArray<ReadonlyArray<Sample>>, count: number): ReadonlyArray<World> =>
  rows.map((r) => worldOn(5, [r], count))

test('accumulate: micro-steps of unequal token counts and an update equal one step on everything', () => {
  fc.assert(
    fc.property(spec, batches, settings, fc.boolean(), (s, all, o, full) => {
      const rows = pack(all)
      const first = full ? [] : [dropping]
      const whole = through(...first, ...step(o))(forward(s, rows.length))
      const parts = through(...first, ...step(o), accumulate)(forward(s, 1))
      for (const [mode, tolerance] of [
        ['real', 1e-9],
        ['typed', 2e-3],
      ] as const) {
        const a = run(whole, worldOn(5, rows, scored(all)), 'step', mode)
        const b = accumulated(parts, byRow(rows, scored(all)), mode)
        const eq = close(tolerance)
        holds(eq(a.outs['loss']!, Float64Array.of(b.loss)), mode)
        holds(eq(a.outs['grad_norm']!, b.outs['grad_norm']!), mode)
        for (const name of Object.keys(a.updates))
          if (mode === 'real' || name.startsWith('adam.m.'))
            holds(eq(a.updates[name]!, b.updates[name]!), `${mode} ${name}`)
      }
    }),
    runs(15),
  )
})

test('accumulate: gradients start at nothing, and an update clears them', () => {
  const p = through(adapters, ...step(adamw), accumulate)(forward(plainSpec, 1))
  const grads = p.state.filter((s) => s.role === 'gradient')
  assert.equal(grads.length, p.state.filter((s) => s.role === 'train').length)
  for (const g of grads) assert.deepEqual(g.recipe, { _tag: 'fill', value: 0 })
  const w = worldOn(5, [[{ tokens: [1, 2, 3, 4], prompt: 1 }]], 3)
  const { updates } = accumulated(p, [w, w], 'typed')
  for (const g of grads)
    holds(
      updates[g.name]!.every((x) => x === 0),
      g.name,
    )
  const micro = p.fns.find((f) => f.name === 'micro')!
  const update = p.fns.find((f) => f.name === 'update')!
  assert.deepEqual(micro.inputs.map((i) => i.name).includes('lr'), false)
  assert.deepEqual(update.inputs.map((i) => i.name).toSorted(), ['lr', 'step'])
})

test('accumulate: one micro-step and an update of any program equal its step', () => {
  let count = 0
  fc.assert(
    fc.property(trainable, settings, fc.nat(9999), (p, o, seed) => {
      const r = compile(step(o))(p)
      if (E.isLeft(r)) return
      count++
      const q = through(accumulate)(r.right.program)
      const w: World = {
        ...worldOf(seed),
        input: (i) => (i.name === 'step' ? Float64Array.of(1) : worldOf(seed).input(i)),
      }
      const [a, b] = [run(r.right.program, w), accumulated(q, [w], 'typed')]
      holds(agree(equal, a.updates, b.updates))
      holds(equal(a.outs['grad_norm']!, b.outs['grad_norm']!))
    }),
    runs(150),
  )
  holds(count > 50, `only ${count} programs`)
})

test('accumulate: two parameters with one gradient both receive it', () => {
  const b = builder()
  const [v, w] = ['v', 'w'].map((name): State => ({
    name,
    type: tensor('f32', 2),
    role: 'train',
    recipe: { _tag: 'load', key: name },
  })) as [State, State]
  const x = b.input('x', tensor('f32', 3, 2))
  const sum = b.alg.addRow(b.alg.addRow(x, b.read(v)), b.read(w))
  const loss = b.alg.add(b.alg.sumSquares(sum), b.alg.sum(b.alg.add(b.read(v), b.read(w))))
  const f = b.done({
    name: 'step',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
  const p = through(...step(adamw))({ name: 'p', state: [v, w], fns: [f] })
  const world: World = {
    ...worldOf(1),
    input: (i) => (i.name === 'x' ? worldOf(1).input(i) : Float64Array.of(1)),
  }
  holds(
    agree(
      equal,
      run(p, world).updates,
      accumulated(through(accumulate)(p), [world], 'typed').updates,
    ),
  )
})

test('accumulate: before the optimizer it is a broken promise', () => {
  const r = compile([differentiate, accumulate])(forward(plainSpec, 1))
  holds(E.isLeft(r) && r.left.reason._tag === 'Broken')
})

test('packing: samples that share a row give the loss and gradients of each in a row of its own', () => {
  fc.assert(
    fc.property(spec, batches, fc.boolean(), (s, all, full) => {
      const [together, apart] = [pack(all), all.map((x) => [x])]
      const passes = [...(full ? [] : [dropping]), differentiate]
      const on = (rows: ReadonlyArray<ReadonlyArray<Sample>>) =>
        run(
          through(...passes)(forward(s, rows.length)),
          worldOn(5, rows, scored(all)),
          'step',
          'real',
        ).outs
      holds(agree(close(1e-10), on(together), on(apart)))
    }),
    runs(25),
  )
})

test('the loss is the mean negative log-likelihood of the scored tokens of the whole batch', () => {
  fc.assert(
    fc.property(spec, batches, (s, all) => {
      const rows = pack(all)
      const p = forward(s, rows.length)
      const w = worldOn(5, rows, scored(all))
      const nll = run(p, w, 'evaluate', 'real').outs['nll']!
      const mean = [...nll].reduce((a, b) => a + b, 0) / scored(all)
      // The divisor arrives as an f32.
      holds(close(1e-6)(run(p, w, 'step', 'real').outs['loss']!, Float64Array.of(mean)))
      holds([...nll].filter((x) => x > 0).length === scored(all), 'no other token is scored')
    }),
    runs(25),
  )
})
