/** Layers in 8-bit floats as launches, against the definition on the same operands: forward and backward, adapters, sums, little scratch. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Backend, Feeds } from '../backends/backend.ts'
import type { Target } from '../backends/cuda/lower/context.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import { building, builder } from '../ir/build.ts'
import type { Id, Program, State } from '../ir/graph.ts'
import { isEncoded, tensor, type Encoded } from '../ir/type.ts'
import { differentiate, schedule, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { load } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { relativeError } from './golden.ts'
import { stateTensor, worldOf } from './laws.ts'
import { right } from './right.ts'

const ROWS = 24

interface Layers {
  /** Width of the input, and of each layer's output. */
  readonly k: number
  readonly outs: ReadonlyArray<number>
  readonly encoding: Encoded
  /** Rank of the adapters, 0: none; on every layer but the last. */
  readonly rank: number
  readonly residual: boolean
  /** Whether the caller takes the layers' own results. */
  readonly returned?: boolean
  /** Of cotangents; null: products in bf16. */
  readonly back: 'e4m3' | 'e5m2' | null
}

/** Layers that read one activation; the objective weighs every result. */
const programOf = (o: Layers): Program => {
  const state: State[] = []
  const declare = (name: string, type: State['type'], role: State['role']): State => {
    const recipe = { _tag: 'load', key: name } as const
    const s: State = {
      name,
      type,
      role,
      recipe: isEncoded(type.dtype) ? { _tag: 'nf4', of: recipe } : recipe,
    }
    state.push(s)
    return s
  }
  const b = builder()
  const fn = right(
    building(() => {
      const { alg } = b
      const read = (name: string, type: State['type'], role: State['role'] = 'frozen'): Id =>
        b.read(declare(name, type, role))
      // Trained, so that a cotangent of x is wanted; made by an equation, as activations are.
      const x = alg.scale(1, alg.cast('bf16', read('x', tensor('f32', ROWS, o.k), 'train')))
      const ys = o.outs.map((out, i) =>
        b.at({ scope: 'layers.0.part' }, () => {
          const w = alg.dequantize('bf16', read(`w${i}`, tensor(o.encoding, out, o.k)))
          const y =
            o.back === null
              ? alg.dot({ tb: true }, x, w)
              : alg.float8Dot({ tb: true, left: 'e4m3', back: o.back }, x, w)
          if (o.rank === 0 || (i === o.outs.length - 1 && i > 0)) return y
          const a = alg.cast('bf16', read(`a${i}`, tensor('f32', o.rank, o.k), 'train'))
          const up = alg.cast('bf16', read(`b${i}`, tensor('f32', out, o.rank), 'train'))
          return alg.add(y, alg.dot({ tb: true }, alg.scale(2, alg.dot({ tb: true }, x, a)), up))
        }),
      )
      const results = o.residual
        ? [
            b.at({ scope: 'layers.0.part' }, () =>
              alg.add(read('r', tensor('bf16', ROWS, o.outs[0]!)), ys[0]!),
            ),
          ]
        : ys
      const weighed = results.map((y, i) =>
        b.at({ scope: 'loss' }, () => alg.mul(y, read(`c${i}`, tensor('bf16', ROWS, o.outs[i]!)))),
      )
      const loss = b.at({ scope: 'loss' }, () =>
        weighed.map((y) => alg.sum(y)).reduce((sum, y) => alg.add(sum, y)),
      )
      const given = o.returned === true ? results : weighed
      return b.done({
        name: 'step',
        outs: [{ name: 'loss', id: loss }, ...given.map((id, i) => ({ name: `y${i}`, id }))],
        updates: [],
        minimizes: 'loss',
      })
    }),
  )
  const p = { name: 'layers', state, fns: [fn] }
  return right(compile([differentiate, simplify, schedule])(p)).program
}

const run = async (backend: Backend, p: Program): Promise<Feeds> => {
  const s = right(await backend.prepare(p)())
  const w = worldOf(3)
  await load(s, p.state, (x) => stateTensor(w, x))
  const out = right(await s.run('step', {})())
  right(await s.close()())
  return out
}

const hopper = cardOf('sm_90a')!.target
const ada = cardOf('sm_89')!.target
const lean: Target = { ...hopper, scratch: 1 }
/** The sum of a product by a kernel behind it. */
const apart: Target = { ...hopper, float8: 'factors' }

const cases: ReadonlyArray<readonly [string, Layers, Target]> = [
  [
    'one layer',
    { k: 128, outs: [256], encoding: 'nf4/64/256', rank: 0, residual: false, back: 'e4m3' },
    hopper,
  ],
  [
    'its residual',
    { k: 128, outs: [256], encoding: 'nf4/64/256', rank: 0, residual: true, back: 'e4m3' },
    hopper,
  ],
  [
    'adapter and residual',
    { k: 64, outs: [128], encoding: 'nf4/64/256', rank: 8, residual: true, back: 'e4m3' },
    hopper,
  ],
  [
    'the sum behind the product',
    {
      k: 64,
      outs: [128],
      encoding: 'nf4/64/256',
      rank: 8,
      residual: true,
      back: 'e4m3',
    },
    apart,
  ],
  [
    'sums one after the other',
    {
      k: 128,
      outs: [64, 64],
      encoding: 'nf4/64/256',
      rank: 8,
      residual: false,
      back: 'e4m3',
    },
    { ...apart, scratch: 1 },
  ],
  [
    'three layers, two adapters',
    {
      k: 128,
      outs: [256, 128, 48],
      encoding: 'nf4/64/256',
      rank: 8,
      residual: false,
      back: 'e4m3',
    },
    hopper,
  ],
  [
    'one after the other where scratch is short',
    {
      k: 128,
      outs: [256, 128, 48],
      encoding: 'nf4/64/256',
      rank: 4,
      residual: false,
      back: 'e4m3',
    },
    lean,
  ],
  [
    'factors after the product',
    { k: 128, outs: [128, 128], encoding: 'nf4/64/256', rank: 8, residual: false, back: 'e5m2' },
    ada,
  ],
  [
    'ragged sizes and plain scales',
    { k: 40, outs: [20, 12], encoding: 'nf4/7', rank: 3, residual: false, back: 'e4m3' },
    ada,
  ],
]

/** Roundings to bf16 that launches leave out or do in other places. */
const ROUNDINGS = 2 ** -7
/** Terms of the objective cancel. */
const boundOf = (name: string): number => (name === 'loss' ? 4 * ROUNDINGS : ROUNDINGS)

describe('layers in 8-bit floats', { skip: noCompiler }, () => {
  for (const [name, o, target] of cases)
    test(`${name}, sm_${target.arch}`, async () => {
      const p = programOf(o)
      const { launches } = lower(p, target).fns[0]!
      for (const rule of ['linear8', 'cotangent8', 'quantize rows'])
        assert.ok(
          launches.some((l) => l.rule.startsWith(rule)),
          `${rule} is not used`,
        )
      assert.ok(!launches.some((l) => l.rule === 'float8Dot' || l.rule === 'dequantize'))
      const [got, want] = [await run(emulated(target), p), await run(reference, p)]
      for (const key of Object.keys(want)) {
        const gap = relativeError(got[key]!, want[key]!)
        assert.ok(gap <= boundOf(key), `${key}: relative error ${gap}`)
      }
    })

  test('weights written again: constants are made anew', async () => {
    const p = programOf(cases[0]![1])
    const s = right(await emulated(hopper).prepare(p)())
    const r = right(await reference.prepare(p)())
    const [first, second] = [worldOf(3), worldOf(4)]
    await load(s, p.state, (x) => stateTensor(first, x))
    right(await s.run('step', {})())
    await load(
      s,
      p.state.filter((x) => x.name === 'w0'),
      (x) => stateTensor(second, x),
    )
    await load(r, p.state, (x) => stateTensor(x.name === 'w0' ? second : first, x))
    const [got, want] = [right(await s.run('step', {})()), right(await r.run('step', {})())]
    for (const key of Object.keys(want))
      assert.ok(relativeError(got[key]!, want[key]!) <= boundOf(key), key)
  })
})

test('layers of one input whose results the caller takes', { skip: noCompiler }, async () => {
  const three = cases.find(([name]) => name.startsWith('three'))!
  const o: Layers = { ...three[1], returned: true }
  for (const back of ['e4m3', null] as const) {
    const p = programOf({ ...o, back })
    const [got, want] = [await run(emulated(hopper), p), await run(reference, p)]
    for (const key of Object.keys(want)) {
      const gap = relativeError(got[key]!, want[key]!)
      assert.ok(gap <= boundOf(key), `${key}: relative error ${gap}`)
    }
  }
})
