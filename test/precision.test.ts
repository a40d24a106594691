/** Mixed precision: near the f32 program within the rounding of its terms; loss scaling cancels out and skips overflows. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Eqn, Program } from '../ir/graph.ts'
import { isFloat } from '../ir/type.ts'
import {
  accumulate,
  differentiate,
  lora,
  optimizer,
  precision,
  quantize,
  simplify,
} from '../passes/index.ts'
import type { Pass } from '../passes/pass.ts'
import { linear } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import {
  agree,
  close,
  preserves,
  run,
  sameBits,
  stateTensor,
  through,
  worldOf,
  type Named,
  type World,
} from './laws.ts'
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
} from './programs.ts'

/** The same sums over absolute values: how large terms were before they cancelled. */
const absolute = (p: Program, w: World): readonly [Program, World] => {
  const positive = (e: Eqn): Eqn =>
    e.op === 'scale'
      ? { ...e, attrs: { by: Math.abs(e.attrs['by'] as number) } }
      : e.op === 'sub'
        ? { ...e, op: 'add' }
        : e
  return [
    { ...p, fns: p.fns.map((f) => ({ ...f, eqns: f.eqns.map(positive) })) },
    { source: (k, n) => w.source(k, n).map(Math.abs), input: (i) => w.input(i).map(Math.abs) },
  ]
}
/** Largest relative error of rounding once: 11 and 8 significant bits. */
const roundoff = { f16: 2 ** -11, bf16: 2 ** -8 } as const
/** Sums of products only: an error bound follows from the sizes of their terms. */
const polynomial = linear.filter((p) =>
  p.fns[0]!.eqns.every((e) => e.op !== 'rmsNorm' && e.op !== 'swiglu'),
)

for (const compute of ['f16', 'bf16'] as const)
  test(`precision(${compute}): the error is a few roundings of the terms' magnitude`, () => {
    fc.assert(
      fc.property(polynomial, fc.nat(9999), (p, seed) => {
        const w = worldOf(seed)
        const [exact, rounded] = [run(p, w).outs, run(through(precision({ compute }))(p), w).outs]
        const size = run(...absolute(p, w)).outs
        // Every equation and every weight rounds once.
        const steps = 2 * p.fns[0]!.eqns.length + p.state.length
        for (const [name, x] of Object.entries(exact))
          x.forEach((v, i) => {
            const m = size[name]![i]!
            const bound = m * ((1 + roundoff[compute]) ** steps - 1) + 2 ** -14
            // What overflows f16 is another law.
            if (m < 6e4) holds(Math.abs(v - rounded[name]![i]!) <= bound, `${name}[${i}]`)
          })
      }),
      runs(150),
    )
  })

test('precision(f32) changes nothing', () => {
  holds(preserves(sameBits, precision({ compute: 'f32' }))(forward(plainSpec, 1), worldOnce()))
})
const worldOnce = (more: Readonly<Record<string, number>> = {}): World =>
  worldOn(5, [[{ tokens: [1, 2, 3, 4, 1], prompt: 2 }]], 3, more)

const adapters = lora({ r: 2, alpha: 3, dropout: 0, targets })

test('precision: frozen state and products in 16 bits; masters, gradients, norms of them and the loss in f32', () => {
  for (const compute of ['f16', 'bf16'] as const) {
    const passes = [adapters, quantize({ block: 4, nested: null }), precision({ compute })]
    const p = through(...passes, differentiate, optimizer(adamw), simplify)(forward(plainSpec, 1))
    for (const s of p.state)
      if (isFloat(s.type.dtype))
        assert.equal(s.type.dtype, s.role === 'frozen' ? compute : 'f32', s.name)
    const f = p.fns.find((g) => g.name === 'step')!
    for (const e of f.eqns) {
      if (['dot', 'rmsNorm', 'attention', 'swiglu', 'dequantize', 'embed'].includes(e.op))
        assert.equal(e.types[0]!.dtype, compute, e.op)
      if (['sum', 'sumSquares', 'linearCrossEntropy', 'adamw'].includes(e.op))
        assert.equal(e.types[0]!.dtype, 'f32', e.op)
    }
    for (const s of p.state.filter((x) => x.role === 'train')) {
      const id = f.outs.find((o) => o.name === `grad.${s.name}`)!.id
      const maker = f.eqns.find((e) => e.outs.includes(id))!
      assert.deepEqual(maker.types[maker.outs.indexOf(id)], s.type)
    }
  }
})

const training = (...model: ReadonlyArray<Pass>): ReadonlyArray<Pass> => [
  ...model,
  differentiate,
  optimizer({ ...adamw, clip: 0.3 }),
  simplify,
]

test('loss scaling cancels out: in real arithmetic the f16 step is the f32 step', () => {
  fc.assert(
    fc.property(
      spec,
      samples(3).filter((all) => scored(all) > 0),
      fc.boolean(),
      (s, all, full) => {
        const rows = pack(all)
        const model = full ? [] : [adapters]
        const w = worldOn(5, rows, scored(all))
        const [a, b] = [[], [precision({ compute: 'f16' })]].map((more) =>
          run(through(...training(...model, ...more))(forward(s, rows.length)), w, 'step', 'real'),
        )
        holds(agree(close(1e-9), a!.updates, b!.updates))
        holds(close(1e-9)(a!.outs['grad_norm']!, b!.outs['grad_norm']!))
        holds(close(1e-12)(a!.outs['loss']!, b!.outs['loss']!))
        assert.deepEqual([...b!.outs['finite']!], [1])
      },
    ),
    runs(15),
  )
})

const half = through(
  ...training(adapters, precision({ compute: 'f16' })),
  accumulate,
)(forward(plainSpec, 1))
/** A micro-step and an update under a loss scale, from moments that are not zero. */
const stepUnder = (scale: number, streak: number) => {
  const moments: Named = Object.fromEntries(
    half.state
      .filter((s) => s.role === 'optimizer')
      .map((s) => [s.name, new Float64Array(s.type.shape.reduce((a, b) => a * b, 1)).fill(1 / 64)]),
  )
  const carried: Named = {
    ...moments,
    'scaler.scale': Float64Array.of(scale),
    'scaler.streak': Float64Array.of(streak),
  }
  const micro = run(half, worldOnce(), 'micro', 'typed', carried)
  const all = { ...carried, ...micro.updates }
  return { micro, carried, update: run(half, worldOnce(), 'update', 'typed', all) }
}

const before = (name: string) =>
  stateTensor(
    worldOnce(),
    half.state.find((s) => s.name === name)!,
  ).data

test('an overflow changes nothing but the loss scale, which halves', () => {
  const { carried, update } = stepUnder(2 ** 40, 7)
  assert.deepEqual([...update.outs['finite']!], [0])
  for (const s of half.state) {
    const after = update.updates[s.name]
    if (s.role === 'optimizer') assert.deepEqual(after, carried[s.name], s.name)
    if (s.role === 'train') {
      holds(after!.every(Number.isFinite), s.name)
      assert.deepEqual(after, before(s.name), s.name)
    }
    if (s.role === 'gradient')
      holds(
        after!.every((x) => x === 0),
        s.name,
      )
  }
  assert.deepEqual([...update.updates['scaler.scale']!], [2 ** 39])
  assert.deepEqual([...update.updates['scaler.streak']!], [0])
})
test('a finite step moves parameters and counts; the 2000th doubles the scale', () => {
  const { update } = stepUnder(1024, 3)
  assert.deepEqual([...update.outs['finite']!], [1])
  assert.deepEqual([...update.updates['scaler.scale']!], [1024])
  assert.deepEqual([...update.updates['scaler.streak']!], [4])
  for (const s of half.state.filter((x) => x.role === 'train'))
    holds(!sameBits(update.updates[s.name]!, before(s.name)), s.name)
  const grown = stepUnder(1024, 1999).update.updates
  assert.deepEqual([grown['scaler.scale']![0], grown['scaler.streak']![0]], [2048, 0])
})

test('bf16 has the range of f32: no scaler', () => {
  const p = through(...training(precision({ compute: 'bf16' })))(forward(plainSpec, 1))
  assert.deepEqual(
    p.state.filter((s) => s.role === 'scaler'),
    [],
  )
})
