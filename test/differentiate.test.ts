/** Gradients of whole programs against central differences of the loss in f64. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { builder } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { showReason } from '../ir/reason.ts'
import { scalar, size, tensor } from '../ir/type.ts'
import { differentiate, lora, quantize, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { trainable } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import { run, through, unit, worldOf, type World } from './laws.ts'
import { forward, pack, samples, scored, spec, worldOn } from './programs.ts'

/** Well below √ε of a norm, whose curve is that narrow where dropout leaves nothing of a row. */
const EPS = 2e-6

/** The loss with one element of one state tensor moved; a moved source moves the tensor that loads it. */
const lossAt = (p: Program, w: World, key: string, at: number, by: number): number => {
  const moved: World = {
    ...w,
    source: (k, n) => {
      const x = w.source(k, n)
      return k === key ? x.map((v, i) => (i === at ? v + by : v)) : x
    },
  }
  return run(p, moved, 'step', 'real').outs['loss']![0]!
}

/** Every trainable tensor, a few elements of each. */
const checkGradients = (p: Program, w: World, pick: string): void => {
  const { outs } = run(p, w, 'step', 'real')
  for (const s of p.state.filter((x) => x.role === 'train')) {
    const got = outs[`grad.${s.name}`]!
    for (let k = 0; k < 3; k++) {
      const at = Math.floor(((unit(`${pick}${s.name}`, k) + 1) / 2) * size(s.type))
      const moved = (by: number): number => lossAt(p, w, s.name, at, by)
      const slope = (moved(EPS) - moved(-EPS)) / (2 * EPS)
      const scale = Math.max(1, Math.abs(slope), Math.abs(moved(0)))
      holds(
        Math.abs(got[at]! - slope) <= 1e-6 * scale,
        `${s.name}[${at}]: ${got[at]}, differences give ${slope}`,
      )
    }
  }
}

/** State as if it had been trained: what starts at zero or at random is loaded instead. */
const asTrained = (p: Program): Program => ({
  ...p,
  state: p.state.map((s): State =>
    s.role === 'train' ? { ...s, recipe: { _tag: 'load', key: s.name } } : s,
  ),
})

test('random programs: gradients are the limit of central differences', () => {
  let differentiated = 0
  fc.assert(
    fc.property(trainable, fc.nat(9999), (p, seed) => {
      const r = compile([differentiate])(p)
      // Only for want of a gradient rule or of a path, never ill typed.
      if (E.isLeft(r)) return r.left.reason._tag !== 'IllTyped'
      const w = worldOf(seed)
      // An index past the end of a small table reads nothing.
      if (!Number.isFinite(run(p, w).outs['loss']![0])) return true
      differentiated++
      checkGradients(r.right.program, w, `${seed}`)
      return true
    }),
    runs(150),
  )
  holds(differentiated > 50, `only ${differentiated} programs could be differentiated`)
})

test('random programs: the loss and the other outputs stay bit for bit what they were', () => {
  fc.assert(
    fc.property(trainable, fc.nat(9999), (p, seed) => {
      const r = compile([differentiate, simplify])(p)
      if (E.isLeft(r)) return
      const [a, b] = [run(p, worldOf(seed)), run(r.right.program, worldOf(seed))]
      for (const [name, x] of Object.entries(a.outs)) assert.deepEqual(b.outs[name], x)
    }),
    runs(100),
  )
})

const batches = samples(3).filter((all) => scored(all) > 0)

test('models: every parameter of any architecture, packed rows of unequal samples', () => {
  fc.assert(
    fc.property(spec, batches, fc.nat(99), (s, all, seed) => {
      const rows = pack(all)
      const p = through(differentiate, simplify)(forward(s, rows.length))
      checkGradients(p, worldOn(seed, rows, scored(all)), `${seed}`)
    }),
    runs(12),
  )
})

test('models: adapters beside quantized weights, with dropout', () => {
  const o = { r: 2, alpha: 3, dropout: 0.3, targets: ['q_proj', 'o_proj', 'up_proj', 'down_proj'] }
  fc.assert(
    fc.property(spec, batches, fc.nat(99), (s, all, seed) => {
      const rows = pack(all)
      const p = asTrained(
        through(lora(o), quantize({ block: 4, nested: 2 }), differentiate)(forward(s, rows.length)),
      )
      checkGradients(p, worldOn(seed, rows, scored(all)), `${seed}`)
    }),
    runs(12),
  )
})

test('towards trainable tensors alone: no gradient of a frozen weight is ever computed', () => {
  fc.assert(
    fc.property(spec, (s) => {
      const o = { r: 1, alpha: 1, dropout: 0, targets: ['v_proj'] }
      const p = through(lora(o), differentiate, simplify)(forward(s, 1))
      const f = p.fns.find((g) => g.name === 'step')!
      const grads = f.outs.filter((x) => x.name.startsWith('grad.')).map((x) => x.name)
      const train = p.state.filter((x) => x.role === 'train').map((x) => `grad.${x.name}`)
      assert.deepEqual(new Set(grads), new Set(train))
      const ops = new Set(f.eqns.map((e) => e.op))
      for (const op of ['embedGrad', 'rmsNormWeightGrad', 'linearCrossEntropyWeightGrad'] as const)
        holds(!ops.has(op), op)
      // Below the first adapter nothing flows: layer 0 gets no gradient of its input.
      const below = f.eqns.filter((e) => e.place.stage === 'backward' && e.place.scope === 'embed')
      assert.equal(below.length, 0)
    }),
    runs(20),
  )
})

test('a gradient that several functions of one tensor share is their sum', () => {
  const b = builder()
  const w: State = {
    name: 'w',
    type: tensor('f32', 2),
    role: 'train',
    recipe: { _tag: 'load', key: 'w' },
  }
  const x = b.read(w)
  const loss = b.alg.sum(b.alg.add(b.alg.mul(x, x), b.alg.scale(3, x)))
  const f = b.done({
    name: 'step',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
  const p = through(differentiate)({ name: 'p', state: [w], fns: [f] })
  const world: World = { ...worldOf(0), source: () => Float64Array.of(5, -1) }
  assert.deepEqual([...run(p, world).outs['grad.w']!], [13, 1])
})

/** Minimizes what `make` builds from a trainable matrix. */
const minimizing = (make: (b: ReturnType<typeof builder>, x: number) => number): Program => {
  const w: State = {
    name: 'w',
    type: tensor('f32', 4, 2),
    role: 'train',
    recipe: { _tag: 'load', key: 'w' },
  }
  const b = builder()
  const loss = make(b, b.read(w))
  const f = b.done({
    name: 'step',
    outs: [{ name: 'loss', id: loss }],
    updates: [],
    minimizes: 'loss',
  })
  return { name: 'p', state: [w], fns: [f] }
}

test('refused: an objective that no gradient rule leads through, by the name of the op', () => {
  const grid = tensor('i32', 2, 2)
  const cases: ReadonlyArray<readonly [RegExp, Program]> = [
    [/sumRows/, minimizing(({ alg }, x) => alg.sum(alg.sumRows(x)))],
    // One path that can be differentiated does not excuse another that cannot.
    [/sumRows/, minimizing(({ alg }, x) => alg.add(alg.sum(x), alg.sum(alg.sumRows(x))))],
    [
      /takeRows/,
      minimizing((b, x) => b.alg.sum(b.alg.takeRows(x, b.input('i', tensor('i32', 1))))),
    ],
    [
      /linearCrossEntropy/,
      minimizing((b, x) => {
        const [nll, lse] = b.alg.linearCrossEntropy(x, x, b.input('t', grid))
        return b.alg.add(b.alg.sum(nll), b.alg.sum(lse))
      }),
    ],
    [
      /attention/,
      minimizing((b, x) => {
        const [out, lse] = b.alg.attention({ heads: 1, kvHeads: 1 }, x, x, x, b.input('s', grid))
        return b.alg.add(b.alg.sum(out), b.alg.sum(lse))
      }),
    ],
    [
      /rope/,
      minimizing((b, x) => b.alg.sum(b.alg.rope(false, b.input('q', tensor('f32', 4, 4)), x, x))),
    ],
  ]
  for (const [op, p] of cases) {
    const r = compile([differentiate])(p)
    holds(E.isLeft(r), `differentiated through ${op}`)
    assert.match(showReason(r.left.reason), op)
  }
})

test('not refused: what depends on a parameter through integers or booleans is constant', () => {
  const p = minimizing((b, x) => {
    const chosen = b.alg.select(
      b.alg.isFinite(x),
      b.input('a', scalar('f32')),
      b.input('b', scalar('f32')),
    )
    return b.alg.add(b.alg.sum(x), chosen)
  })
  assert.deepEqual(
    [...run(through(differentiate)(p), worldOf(1)).outs['grad.w']!],
    Array(8).fill(1),
  )
})

test('refused: nothing trainable, nothing minimized, a parameter without influence', () => {
  const p = minimizing(({ alg }, x) => alg.sum(x))
  const idle: State = { ...p.state[0]!, name: 'idle' }
  const cases: ReadonlyArray<readonly [Program, RegExp]> = [
    [{ ...p, state: [{ ...p.state[0]!, role: 'frozen' }] }, /nothing is trainable/],
    [
      { ...p, fns: p.fns.map(({ minimizes: goal, ...f }) => ({ ...f, name: `without_${goal}` })) },
      /some function minimizes/,
    ],
    [{ ...p, state: [...p.state, idle] }, /idle has none/],
  ]
  for (const [q, reason] of cases) {
    const r = compile([differentiate])(q)
    holds(E.isLeft(r))
    assert.match(showReason(r.left.reason), reason)
  }
})
