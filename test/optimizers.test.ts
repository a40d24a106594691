/** Every optimizer against the steps of torch, bitsandbytes and others in f64, and its laws. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Optimizer } from '../passes/index.ts'
import { fc, holds, runs } from './fc.ts'
import { close, type Numbers } from './laws.ts'
import { curves, steps, stepping } from './optimizer-job.ts'

const titled = (o: object): string =>
  Object.entries(o)
    .map(([k, v]) => `${k}=${String(v)}`)
    .join(' ')

for (const c of curves.cases)
  test(`${c.name}: ${titled(c.settings)}`, () => {
    const all = steps(stepping({ ...c.settings, clip: null }), c.rates, 'real')
    assert.equal(all.length, c.curve.length)
    for (const [k, want] of c.curve.entries())
      for (const [i, w] of want.entries()) {
        const got = all[k]![`p${i}.weight`]!
        holds(
          close(1e-11)(got, Float64Array.from(w)),
          `step ${k + 1}: ${got.join()} and ${w.join()}`,
        )
      }
  })

const settings: fc.Arbitrary<Optimizer> = fc
  .tuple(fc.nat(curves.cases.length - 1), fc.constantFrom(null, 0.4))
  .map(([i, clip]) => ({ ...curves.cases[i]!.settings, clip }))

test('a learning rate of 0 leaves every parameter as it is', () => {
  fc.assert(
    fc.property(settings, (o) => {
      const p = stepping(o)
      const [first, second] = steps(p, [0, 0], 'typed')
      for (const name of ['p0.weight', 'p1.weight'])
        holds(close(0, 0)(first![name]!, second![name]!), name)
      const start = Float64Array.from(curves.start[0]!, Math.fround)
      holds(close(0, 0)(first!['p0.weight']!, start))
    }),
    runs(20),
  )
})

test('in f32 the curve is that of f64, within what rounding does', () => {
  for (const c of curves.cases) {
    const p = stepping({ ...c.settings, clip: null })
    const rates = c.rates.map(Math.fround)
    const [narrow, wide] = [steps(p, rates, 'typed').at(-1)!, steps(p, rates, 'real').at(-1)!]
    const same = (a: Numbers, b: Numbers) => close(1e-4, 1e-5)(a, b)
    for (const name of Object.keys(wide))
      holds(same(narrow[name]!, wide[name]!), `${c.name} ${name}`)
  }
})

test('what is kept for a tensor is what the optimizer needs and no more', () => {
  const floats = (o: Optimizer): number => {
    const p = stepping(o)
    const of = (role: string): number =>
      p.state
        .filter((s) => s.role === role)
        .reduce((n, s) => n + s.type.shape.reduce((a, b) => a * b, 1), 0)
    return of('optimizer') / of('train')
  }
  const kept = curves.cases.map((c) => [titled(c.settings), floats({ ...c.settings, clip: null })])
  for (const [name, n] of kept) {
    // Of matrices of 3 × 5 and 5 × 2 and a vector of 4, Adafactor keeps rows, columns and the vector's own.
    const want = /kind=adam /.test(String(name))
      ? 2
      : /kind=adafactor/.test(String(name))
        ? (3 + 5 + 5 + 2 + 4) / (15 + 10 + 4)
        : /kind=sgd momentum=0 /.test(String(name))
          ? 0
          : 1
    assert.equal(n, want, String(name))
  }
})
