/** Products of 8-bit integers against bitsandbytes' MatMul8bitLt (`fixtures/int8/make.py`), which rounds between its steps. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dequantize } from '../ir/encoding.ts'
import { views } from '../ir/int8.ts'
import { round, roundF16 } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { opOf } from '../ir/ops/index.ts'
import { bytes, tensor, type Float } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'
import { noise } from './laws.ts'
import { apply, t } from './op-cases.ts'

interface Product {
  readonly dtype: Float
  readonly threshold: number
  readonly x: { readonly shape: readonly [number, number]; readonly values: ReadonlyArray<number> }
  readonly w: {
    readonly shape: readonly [number, number]
    readonly codes: ReadonlyArray<number>
    readonly scales: ReadonlyArray<number>
  }
  readonly outliers: ReadonlyArray<number>
  readonly y: ReadonlyArray<number>
  readonly ct: ReadonlyArray<number>
  readonly dx: ReadonlyArray<number>
}
const { products } = JSON.parse(
  readFileSync(new URL('fixtures/int8/vectors.json', import.meta.url), 'utf8'),
) as { readonly products: ReadonlyArray<Product> }

const weight = (
  shape: readonly [number, number],
  codes: ArrayLike<number>,
  scales: ArrayLike<number>,
): Tensor => {
  const type = tensor('int8', ...shape)
  const data = new Uint8Array(bytes(type))
  const to = views(type, data)
  to.codes.set(codes)
  to.scales.set(scales)
  return { type, data }
}

/** A unit in the last place of a value, relative. */
const unit: { readonly [F in Float]: number } = { f32: 2 ** -23, bf16: 2 ** -7, f16: 2 ** -10 }
/** Σ |x|·|w| of an element: what roundings along the way are relative to. */
const magnitude = (x: ArrayLike<number>, w: ArrayLike<number>, k: number, i: number, j: number) =>
  Array.from({ length: k }, (_, l) => Math.abs(x[i * k + l]! * w[j * k + l]!)).reduce(
    (a, b) => a + b,
    0,
  )

for (const p of products)
  test(`${p.dtype} [${p.x.shape.join(', ')}] by [${p.w.shape.join(', ')}], threshold ${p.threshold}: bitsandbytes’ product and gradient`, () => {
    const [[m, k], [n]] = [p.x.shape, p.w.shape]
    const w = weight(p.w.shape, p.w.codes, p.w.scales)
    const x = t(tensor(p.dtype, m, k), p.x.values)
    const [y] = apply('int8Dot', { threshold: p.threshold }, x, w)
    const decoded = dequantize(w.type, w.data as Uint8Array)
    for (let i = 0; i < m; i++)
      for (let j = 0; j < n; j++) {
        const [got, want] = [y!.data[i * n + j]!, p.y[i * n + j]!]
        const size = magnitude(p.x.values, decoded, k, i, j)
        // Two roundings of theirs, of the inliers' sum and of the whole; and their CPU's 1/127² is off by 1.8e-5.
        const bound = (unit[p.dtype] / 2) * (Math.abs(want) + size) + 2e-5 * size
        holds(Math.abs(got - want) <= bound, `${got}, bitsandbytes has ${want} at ${i}, ${j}`)
      }
    const columns = new Set<number>()
    p.x.values.forEach(
      (v, i) => p.threshold > 0 && Math.abs(roundF16(v)) >= p.threshold && columns.add(i % k),
    )
    assert.deepEqual(
      [...columns].toSorted((a, b) => a - b),
      p.outliers,
    )
    for (let i = 0; i < m; i++)
      for (let l = 0; l < k; l++) {
        const terms = Array.from(
          { length: n },
          (_, j) => p.ct[i * n + j]! * round[p.dtype](decoded[j * k + l]!),
        )
        const got = terms.reduce((a, b) => a + b, 0)
        const size = terms.reduce((a, b) => a + Math.abs(b), 0)
        // Their codes × (scale · 1/127) is rounded once less than the stored value.
        holds(Math.abs(got - p.dx[i * k + l]!) <= unit[p.dtype] * size)
      }
  })

const cases = fc.record({
  m: fc.integer({ min: 1, max: 4 }),
  k: fc.integer({ min: 1, max: 9 }),
  n: fc.integer({ min: 1, max: 3 }),
  seed: fc.nat(9999),
})
const operands = ({ m, k, n, seed }: { m: number; k: number; n: number; seed: number }) => {
  const codes = Array.from(noise(`c${seed}`, n * k), (v) => Math.round(v * 60))
  const scales = Array.from(noise(`s${seed}`, n), (v) => Math.fround(Math.abs(v) + 0.1))
  return {
    x: noise(`x${seed}`, m * k).map((v) => roundF16(v * 4)),
    w: weight([n, k], codes, scales),
  }
}

test('with every column apart it is the product with the decoded weight', () => {
  fc.assert(
    fc.property(cases, (o) => {
      const { x, w } = operands(o)
      const most = x.map((v) => (v === 0 ? 1 : v))
      const least = Math.min(...most.map(Math.abs))
      const [y] = apply('int8Dot', { threshold: least }, t(tensor('f32', o.m, o.k), most), w)
      const decoded = dequantize(w.type, w.data as Uint8Array)
      for (let i = 0; i < o.m; i++)
        for (let j = 0; j < o.n; j++) {
          const terms = Array.from(
            { length: o.k },
            (_, l) => most[i * o.k + l]! * decoded[j * o.k + l]!,
          )
          const exact = terms.reduce((a, b) => a + b, 0)
          holds(Math.abs(y!.data[i * o.n + j]! - exact) < 1e-9)
        }
    }),
    runs(100),
  )
})

test('without outliers no row depends on another, and each is off by half a step of its largest value', () => {
  fc.assert(
    fc.property(cases, (o) => {
      const { x, w } = operands(o)
      const of = (rows: ArrayLike<number>, m: number) =>
        apply('int8Dot', { threshold: 0 }, t(tensor('f32', m, o.k), rows), w)[0]!.data
      const all = of(x, o.m)
      const decoded = dequantize(w.type, w.data as Uint8Array)
      for (let i = 0; i < o.m; i++) {
        const row = x.subarray(i * o.k, (i + 1) * o.k)
        assert.deepEqual([...of(row, 1)], [...all.subarray(i * o.n, (i + 1) * o.n)])
        const step = Math.max(...row.map(Math.abs)) / 127
        for (let j = 0; j < o.n; j++) {
          const ws = decoded.subarray(j * o.k, (j + 1) * o.k)
          const exact = ws.reduce((s, v, l) => s + v * row[l]!, 0)
          const bound = (step / 2) * ws.reduce((s, v) => s + Math.abs(v), 0)
          holds(Math.abs(all[i * o.n + j]! - exact) <= bound * 1.0001 + 1e-6)
        }
      }
    }),
    runs(200),
  )
})

test('nothing leads to the weight; what is no product of its kind is refused', () => {
  const { x, w } = operands({ m: 2, k: 4, n: 3, seed: 1 })
  const float = tensor('f32', 2, 4)
  const [, byWeight] = opOf('int8Dot').vjp!({
    alg: null as never,
    attrs: { threshold: 6 },
    args: [t(float, x), w],
    types: [float, w.type],
    outs: [],
    cts: [t(tensor('f32', 2, 3), new Float64Array(6))],
  })
  assert.equal(byWeight, null)
  for (const [a, b, why] of [
    [float, tensor('f32', 3, 4), /takes an int8 matrix, got f32\[3, 4\]/],
    [float, tensor('nf4/64', 3, 4), /takes an int8 matrix/],
    [float, tensor('int8', 3, 5), /contracts 4 with 5/],
    [tensor('i32', 2, 4), w.type, /takes a float matrix, got i32/],
  ] as const) {
    const r = opOf('int8Dot').infer({ threshold: 6 }, [a, b])
    assert.match(r._tag === 'Left' ? r.left : '', why)
  }
})
