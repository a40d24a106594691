/** How adapters start: what is random has its moments, what is taken out of a weight is its best part, and nothing is lost. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { added, factorsOf, type Factors } from '../ir/factors.ts'
import { normal, orthogonal } from '../ir/initial.ts'
import { tensor } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'
import { noise } from './laws.ts'

/** B·A. */
const product = ({ a, b }: Factors, r: number): Float64Array => {
  const into = a.length / r
  return Float64Array.from({ length: (b.length / r) * into }, (_, i) => {
    let s = 0
    for (let k = 0; k < r; k++) s += b[Math.floor(i / into) * r + k]! * a[k * into + (i % into)]!
    return s
  })
}

const squares = (x: ArrayLike<number>): number => Array.from(x).reduce((s, v) => s + v * v, 0)

test('gaussian: mean 0 and deviation 1/r; another name or seed, other numbers', () => {
  const type = tensor('f32', 8, 4096)
  const x = normal('a', type, 1 / 8, 1)
  const mean = x.reduce((s, v) => s + v, 0) / x.length
  holds(Math.abs(mean) < 0.003, `mean ${mean}`)
  const deviation = Math.sqrt(squares(x) / x.length)
  holds(Math.abs(deviation * 8 - 1) < 0.02, `deviation ${deviation}`)
  const fourth = x.reduce((s, v) => s + (8 * v) ** 4, 0) / x.length
  holds(Math.abs(fourth - 3) < 0.3, `fourth moment ${fourth}`)
  assert.deepEqual(normal('a', type, 1 / 8, 1), x)
  assert.notDeepEqual(normal('b', type, 1 / 8, 1), x)
  assert.notDeepEqual(normal('a', type, 1 / 8, 2), x)
})

test('orthogonal: neither A nor B is zero, and their product is', () => {
  for (const r of [2, 4, 8]) {
    const a = orthogonal('m', 'A', tensor('f32', r, 64), 3)
    const b = orthogonal('m', 'B', tensor('f32', 96, r), 3)
    const size = Math.sqrt((squares(a) / a.length) * (squares(b) / b.length))
    // Each element is a normal number over 10 times an element of Q.
    holds(size > 0.2 * (0.01 / r) && size < 5 * (0.01 / r), `r=${r}: ${size}`)
    holds(
      product({ a, b }, r).every((v) => Math.abs(v) < 1e-7),
      `r=${r}`,
    )
  }
})

const shapes = fc.record({
  rows: fc.integer({ min: 2, max: 9 }),
  columns: fc.integer({ min: 2, max: 9 }),
  r: fc.integer({ min: 1, max: 2 }),
  scale: fc.constantFrom(0.5, 1, 3),
  seed: fc.nat(999),
})

test('pissa and olora: W − s·B·A and s·B·A together are W', () => {
  fc.assert(
    fc.property(shapes, fc.constantFrom('pissa' as const, 'olora' as const), (o, by) => {
      const w = Float32Array.from(noise(`${o.seed}`, o.rows * o.columns))
      const f = factorsOf(by, w, [o.rows, o.columns], o.r, o.scale, 'w')
      const back = added(added(w, f, o.r, -o.scale), f, o.r, o.scale)
      return back.every((x, i) => Math.abs(x - w[i]!) < 1e-6)
    }),
    runs(60),
  )
})

test('pissa: no matrix of this rank is nearer', () => {
  fc.assert(
    fc.property(shapes, fc.nat(99), (o, other) => {
      const w = Float32Array.from(noise(`${o.seed}`, o.rows * o.columns))
      const shape = [o.rows, o.columns] as const
      const gap = (f: Factors) => squares(added(w, f, o.r, -o.scale))
      const best = factorsOf('pissa', w, shape, o.r, o.scale, 'w')
      // The nearest with the same A: one step of alternating least squares changes nothing at the optimum.
      const nudged = {
        a: best.a.map((x, i) => x + 1e-2 * noise(`${other}a`, best.a.length)[i]!),
        b: best.b.map((x, i) => x + 1e-2 * noise(`${other}b`, best.b.length)[i]!),
      }
      holds(gap(best) <= gap(nudged) + 1e-9)
      holds(gap(best) <= gap(factorsOf('olora', w, shape, o.r, o.scale, 'w')) + 1e-6)
    }),
    runs(60),
  )
})

test('a weight of a lower rank than the adapter leaves nothing, and no NaN', () => {
  const w = Float32Array.from({ length: 48 }, (_, i) => (1 + Math.floor(i / 8)) * ((i % 8) - 3))
  for (const by of ['pissa', 'olora'] as const) {
    const f = factorsOf(by, w, [6, 8], 3, 1, 'w')
    holds(
      added(w, f, 3, -1).every((x) => Math.abs(x) < 1e-5),
      by,
    )
  }
  const nothing = factorsOf('pissa', new Float32Array(48), [6, 8], 2, 1, 'w')
  holds([...nothing.a, ...nothing.b].every((x) => x === 0))
})
