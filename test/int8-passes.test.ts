/** Quantization to 8 bits: frozen linear products become int8Dot, whatever stands beside them. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import type { Program } from '../ir/graph.ts'
import { isEncoded } from '../ir/type.ts'
import { differentiate, lora, precision, quantize, simplify } from '../passes/index.ts'
import { linearWeights } from '../passes/linear.ts'
import { compile } from '../passes/pass.ts'
import { roundTrip } from '../ir/encoding.ts'
import { linear } from './arbitrary.ts'
import { fc, holds, runs } from './fc.ts'
import { agree, close, commute, idempotent, run, through, worldOf, type World } from './laws.ts'
import { forward, plainSpec, targets } from './programs.ts'

const withLinear = linear.filter((p) => linearWeights(p).length > 0)
const eight = (threshold: number) => quantize({ threshold })
const count = (p: Program, op: string, ...stages: ReadonlyArray<string>): number =>
  p.fns.flatMap((f) => f.eqns).filter((e) => e.op === op && stages.includes(e.place.stage)).length

/** Weights as they come back from their codes. */
const rounded = (w: World, p: Program): World => {
  const types = new Map(p.state.map((s) => [s.name, s.type]))
  return {
    ...w,
    source: (key, n) => {
      const [x, type] = [w.source(key, n), types.get(key)]
      return type?.dtype === 'int8' ? Float64Array.from(roundTrip(type, Float32Array.from(x))) : x
    },
  }
}

test('with every value an outlier it is the program with weights that have been through 8 bits', () => {
  fc.assert(
    fc.property(withLinear, fc.nat(999), (p, seed) => {
      const q = through(eight(1e-6))(p)
      assert.deepEqual(
        q.state.filter((s) => isEncoded(s.type.dtype)).map((s) => s.name),
        linearWeights(p).map((s) => s.name),
      )
      const w = worldOf(seed)
      holds(agree(close(1e-4), run(p, rounded(w, q)).outs, run(q, w).outs))
    }),
    runs(100),
  )
})

test('idempotent; commutes with lora', () => {
  fc.assert(
    fc.property(withLinear, (p) => idempotent(eight(6))(p)),
    runs(40),
  )
  const frozen = (p: Program): Program => ({
    ...p,
    state: p.state.map((s) => ({ ...s, role: 'frozen' as const })),
  })
  for (const dora of [false, true]) {
    const o = { r: 2, alpha: 4, dropout: 0.1, targets: ['v_proj', 'gate_proj'], dora }
    const p = frozen(forward(plainSpec, 1))
    if (dora) holds(E.isRight(compile([eight(6), lora(o)])(p)))
    else holds(commute(lora(o), eight(6))(p))
  }
})

test('forward products are of 8 bits, the gradient is by the decoded weight, all else is as without', () => {
  const adapters = lora({ r: 2, alpha: 3, dropout: 0, targets })
  const passes = [adapters, eight(6), precision({ compute: 'bf16' }), differentiate, simplify]
  const p = through(...passes)(forward(plainSpec, 1))
  const whole = through(
    adapters,
    precision({ compute: 'bf16' }),
    differentiate,
    simplify,
  )(forward(plainSpec, 1))
  const layers = p.state.filter((s) => s.type.dtype === 'int8').length
  assert.equal(count(p, 'int8Dot', 'forward'), layers * p.fns.length)
  assert.equal(count(p, 'int8Dot', 'backward', 'recompute'), 0)
  assert.equal(count(p, 'dequantize', 'forward'), 0)
  holds(count(p, 'dequantize', 'backward', 'recompute') > 0)
  for (const stage of ['forward', 'backward'])
    assert.equal(count(p, 'int8Dot', stage) + count(p, 'dot', stage), count(whole, 'dot', stage))
  for (const e of p.fns.flatMap((f) => f.eqns).filter((x) => x.op === 'int8Dot')) {
    assert.equal(e.types[0]!.dtype, 'bf16')
    assert.equal(e.attrs['threshold'], 6)
  }
})

test('refused: 8-bit floats in flight where all frozen weights are 8-bit integers', () => {
  const r = compile([
    lora({ r: 2, alpha: 3, dropout: 0, targets }),
    eight(6),
    precision({ compute: 'float8' }),
  ])(forward(plainSpec, 1))
  holds(E.isLeft(r) && r.left.reason._tag === 'Unsupported')
})
