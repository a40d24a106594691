/** The ops of the parameter update, and dropout, written a second time in the plainest way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Adam } from '../ir/algebra.ts'
import { tensor } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'
import { close, noise, type Numbers } from './laws.ts'
import { apply, t } from './op-cases.ts'

const near = (a: Numbers, b: Numbers, why?: string): void =>
  holds(close(1e-12)(a, b), `${why ?? ''} ${a.join()} and ${b.join()}`)

/** torch.optim's single-tensor loop: decay, moments, bias corrections, step. */
const torchAdam = (a: Adam, lr: number) => {
  let [p, m, v, k] = [0, 0, 0, 0]
  return {
    start: (x: number) => (p = x),
    step: (gradient: number): readonly [number, number, number] => {
      k += 1
      const g = a.decoupled ? gradient : gradient + a.decay * p
      if (a.decoupled) p -= lr * a.decay * p
      m += (g - m) * (1 - a.beta1)
      v = v * a.beta2 + g * g * (1 - a.beta2)
      const denominator = Math.sqrt(v) / Math.sqrt(1 - Math.pow(a.beta2, k)) + a.eps
      p -= (lr / (1 - Math.pow(a.beta1, k))) * (m / denominator)
      return [p, m, v]
    },
  }
}

test('adamw: many steps of torch.optim.AdamW and Adam', () => {
  const settings = fc.record({
    beta1: fc.constantFrom(0.9, 0.5),
    beta2: fc.constantFrom(0.999, 0.95),
    eps: fc.constantFrom(1e-8, 1e-3),
    decay: fc.constantFrom(0, 0.1),
    decoupled: fc.boolean(),
  })
  fc.assert(
    fc.property(settings, fc.nat(99), (a, seed) => {
      const lr = 0.05
      const type = tensor('f32', 3)
      let [p, m, v] = [noise(`${seed}p`, 3), new Float64Array(3), new Float64Array(3)] as Numbers[]
      const each = Array.from(p!, (x) => {
        const s = torchAdam(a, lr)
        s.start(x)
        return s
      })
      for (let k = 1; k <= 6; k++) {
        const g = noise(`${seed}g${k}`, 3)
        const scalars = [lr, k].map((x) => t(tensor('f32'), [x]))
        const outs = apply(
          'adamw',
          { ...a },
          t(type, p!),
          t(type, g),
          t(type, m!),
          t(type, v!),
          ...scalars,
        )
        ;[p, m, v] = outs.map((o) => o.data)
        const want = each.map((s, i) => s.step(g[i]!))
        for (const [i, got] of [p!, m!, v!].entries())
          near(
            got,
            Float64Array.from(want, (w) => w[i]!),
            `step ${k}`,
          )
      }
    }),
    runs(50),
  )
})

test('clipping: torch’s coefficient, never above one', () => {
  const coefficient = (max: number, norm: number) =>
    apply('clipCoefficient', { max }, t(tensor('f32'), [norm * norm]))[0]!.data[0]!
  assert.equal(coefficient(1, 0.5), 1)
  holds(Math.abs(coefficient(1, 4) - 1 / (4 + 1e-6)) < 1e-15)
  assert.equal(coefficient(1, 0), 1)
})

test('the loss scale: halves on overflow, doubles after 2000 finite steps in a row', () => {
  let [scale, streak] = [65536, 0]
  const steps = (n: number, finite: boolean): void => {
    for (let i = 0; i < n; i++) {
      const [s, k] = apply(
        'lossScale',
        {},
        t(tensor('f32'), [scale]),
        t(tensor('f32'), [streak]),
        t(tensor('bool'), [finite ? 1 : 0]),
      )
      ;[scale, streak] = [s!.data[0]!, k!.data[0]!]
    }
  }
  steps(1999, true)
  assert.deepEqual([scale, streak], [65536, 1999])
  steps(1, true)
  assert.deepEqual([scale, streak], [131072, 0])
  steps(1500, true)
  steps(1, false)
  assert.deepEqual([scale, streak], [65536, 0])
  steps(2000, true)
  assert.equal(scale, 131072)
})

test('dropout: keeps its share, scales it up, and depends on seed, salt, key and column alone', () => {
  const [rows, columns] = [50, 400]
  const n = rows * columns
  const x = t(tensor('f32', rows, columns), new Float64Array(n).fill(1))
  const counted = Array.from({ length: rows }, (_, i) => i)
  const drop = (rate: number, salt: number, seed: number, keys = counted): Float64Array =>
    apply('dropout', { rate, salt }, x, t(tensor('i32'), [seed]), t(tensor('i32', rows), keys))[0]!
      .data as Float64Array
  const mask = drop(0.25, 1, 7)
  const kept = mask.filter((v) => v !== 0)
  holds(kept.every((v) => v === 1 / 0.75))
  // Five standard deviations of a binomial.
  holds(Math.abs(kept.length / n - 0.75) < 5 * Math.sqrt((0.25 * 0.75) / n))
  assert.deepEqual(drop(0.25, 1, 7), mask)
  const overlap = (other: Float64Array): number =>
    other.reduce((s, v, i) => s + Number(v !== 0 && mask[i] !== 0), 0) / n
  const far = counted.map((i) => i - 100)
  for (const other of [
    drop(0.25, 2, 7),
    drop(0.25, 1, 8),
    drop(0.25, 0, -3),
    drop(0.25, 1, 7, far),
  ])
    holds(Math.abs(overlap(other) - 0.75 ** 2) < 0.02, `overlap ${overlap(other)}`)
  const rowsOf = (m: Float64Array) => counted.map((i) => m.slice(i * columns, (i + 1) * columns))
  const turned = counted.toReversed()
  assert.deepEqual(rowsOf(drop(0.25, 1, 7, turned)), rowsOf(mask).toReversed())
  // Rows of neighbouring keys share no stretch, shifted or not: 40 columns in common by chance are 1 in 10⁸.
  const texts = rowsOf(mask).map((r) => r.map(Math.sign).join(''))
  for (const [i, text] of texts.entries())
    for (let at = 0; at + 40 <= columns; at += 40)
      for (const [k, other] of texts.entries())
        holds(i === k || !other.includes(text.slice(at, at + 40)), `rows ${i} and ${k}`)
  assert.deepEqual(drop(0, 1, 7), x.data)
})
