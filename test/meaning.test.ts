/** What the larger ops mean, written a second time in the plainest way. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Rope } from '../ir/algebra.ts'
import { inverseFrequencies } from '../ir/frequencies.ts'
import type { Tensor } from '../ir/op.ts'
import { tensor } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'
import { close, noise, type Numbers } from './laws.ts'
import { apply, t } from './op-cases.ts'

const near = (a: Numbers, b: Numbers, why?: string): void =>
  holds(close(1e-12)(a, b), `${why ?? ''} ${a.join()} and ${b.join()}`)

const dims = fc.record({
  rows: fc.integer({ min: 1, max: 2 }),
  length: fc.integer({ min: 1, max: 5 }),
  kvHeads: fc.integer({ min: 1, max: 2 }),
  group: fc.integer({ min: 1, max: 3 }),
  d: fc.constantFrom(1, 2, 4),
  seed: fc.nat(1000),
  segments: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 10, maxLength: 10 }),
})
type Dims = typeof dims extends fc.Arbitrary<infer T> ? T : never
const matrix = (name: string, rows: number, columns: number): Tensor =>
  t(tensor('f32', rows, columns), noise(name, rows * columns))

/** Attention over the whole grid with an explicit mask, one head at a time. */
const naiveAttention = (x: Dims, q: Numbers, k: Numbers, v: Numbers, segments: Numbers) => {
  const [n, heads] = [x.rows * x.length, x.kvHeads * x.group]
  const out = new Float64Array(n * heads * x.d)
  const sees = (i: number, j: number): boolean =>
    Math.floor(i / x.length) === Math.floor(j / x.length) && j <= i && segments[i] === segments[j]
  for (let h = 0; h < heads; h++) {
    const kv = Math.floor(h / x.group)
    const query = (i: number, c: number) => q[i * heads * x.d + h * x.d + c]!
    const at = (m: Numbers, j: number, c: number) => m[j * x.kvHeads * x.d + kv * x.d + c]!
    for (let i = 0; i < n; i++) {
      const e = Array.from({ length: n }, (_, j) => {
        let s = 0
        for (let c = 0; c < x.d; c++) s += query(i, c) * at(k, j, c)
        return sees(i, j) ? Math.exp(s / x.d ** 0.5) : 0
      })
      const total = e.reduce((a, b) => a + b)
      for (let c = 0; c < x.d; c++)
        out[i * heads * x.d + h * x.d + c] = e.reduce((s, p, j) => s + p * at(v, j, c), 0) / total
    }
  }
  return out
}

const qkv = (x: Dims) => {
  const n = x.rows * x.length
  const [wide, narrow] = [x.kvHeads * x.group * x.d, x.kvHeads * x.d]
  return {
    heads: { heads: x.kvHeads * x.group, kvHeads: x.kvHeads },
    grid: tensor('i32', x.rows, x.length),
    q: matrix(`${x.seed}q`, n, wide),
    k: matrix(`${x.seed}k`, n, narrow),
    v: matrix(`${x.seed}v`, n, narrow),
  }
}

test('attention: softmax under an explicit mask of row, segment and order', () => {
  fc.assert(
    fc.property(dims, (x) => {
      const { heads, grid, q, k, v } = qkv(x)
      const segments = t(grid, x.segments.slice(0, x.rows * x.length))
      const [out] = apply('attention', heads, q, k, v, segments)
      near(out!.data, naiveAttention(x, q.data, k.data, v.data, segments.data))
    }),
    runs(100),
  )
})

test('a cache filled token by token gives the attention of the whole sequence', () => {
  fc.assert(
    fc.property(dims, fc.integer({ min: 0, max: 2 }), (x, spare) => {
      const { heads, grid, q, k, v } = qkv(x)
      const whole = apply('attention', heads, q, k, v, t(grid, new Float64Array(x.rows * x.length)))
      const width = x.kvHeads * x.d
      const cacheType = tensor('f32', x.rows, x.length + spare, width)
      const empty = t(cacheType, noise('stale', x.rows * (x.length + spare) * width))
      const column = (m: Tensor, at: number): Tensor => {
        const w = m.type.shape[1]!
        const rows = Array.from({ length: x.rows }, (_, r) => [
          ...m.data.subarray((r * x.length + at) * w, (r * x.length + at + 1) * w),
        ])
        return t(tensor('f32', x.rows, w), rows.flat())
      }
      let [ck, cv] = [empty, empty]
      for (let at = 0; at < x.length; at++) {
        const positions = t(
          tensor('i32', x.rows, 1),
          Array.from({ length: x.rows }, () => at),
        )
        ck = apply('cacheWrite', {}, ck, column(k, at), positions)[0]!
        cv = apply('cacheWrite', {}, cv, column(v, at), positions)[0]!
        const [out] = apply('cachedAttention', heads, column(q, at), ck, cv, positions)
        near(out!.data, column(whole[0]!, at).data, `token ${at}`)
      }
      const all = t(
        grid,
        Array.from({ length: x.rows * x.length }, (_, i) => i % x.length),
      )
      near(apply('cacheWrite', {}, empty, k, all)[0]!.data, ck.data, 'written at once')
    }),
    runs(60),
  )
})

test('a position outside the cache writes nothing: padding of a prompt', () => {
  const cache = t(tensor('f32', 1, 2, 1), [7, 8])
  const x = t(tensor('f32', 3, 1), [1, 2, 3])
  const [out] = apply('cacheWrite', {}, cache, x, t(tensor('i32', 1, 3), [0, 2, -1]))
  assert.deepEqual([...out!.data], [1, 8])
})

const plain: Rope = {
  dim: 128,
  theta: 500000,
  factor: 8,
  lowFreqFactor: 1,
  highFreqFactor: 4,
  originalContext: 8192,
}
/** Read from transformers' `inv_freq` of Llama-3.1-8B and Llama-3.2-1B. */
const frequencies: ReadonlyArray<readonly [Rope, ReadonlyArray<readonly [number, number]>]> = [
  [
    plain,
    [
      [28, 0.0032114461],
      [29, 0.0021665706],
      [30, 0.0013718937],
      [31, 0.00085675146],
      [34, 0.00017850779],
      [63, 3.0689259e-7],
    ],
  ],
  [
    { ...plain, dim: 64, factor: 32 },
    [
      [14, 0.0032114461],
      [15, 0.001290548],
      [16, 0.00042955671],
      [17, 9.7082862e-5],
      [18, 1.9461639e-5],
      [31, 9.4183065e-8],
    ],
  ],
]

test('RoPE: Llama-3 frequencies are those of transformers, and the table holds their angles', () => {
  for (const [rope, known] of frequencies) {
    const f = inverseFrequencies(rope)
    const [cos, sin] = apply('ropeTable', { ...rope }, t(tensor('i32', 1, 2), [1, 3]))
    for (const [i, want] of known) {
      holds(Math.abs(f[i]! / want - 1) < 1e-6, `frequency ${i}: ${f[i]} for ${want}`)
      for (const [row, p] of [1, 3].entries()) {
        const at = row * f.length + i
        holds(Math.abs(Math.atan2(sin!.data[at]!, cos!.data[at]!) / (p * want) - 1) < 1e-6)
      }
    }
  }
})

test('RoPE: linear scaling divides positions, no scaling leaves θ^(−2i/d)', () => {
  const base = { ...plain, dim: 4, theta: 100, factor: 1, lowFreqFactor: 0, highFreqFactor: 0 }
  assert.deepEqual([...inverseFrequencies(base)], [1, 0.1])
  near(inverseFrequencies({ ...base, factor: 4 }), Float64Array.of(0.25, 0.025))
})

test('RoPE: each pair (i, i + d/2) of each head turns as a complex number, and turns back', () => {
  const x = matrix('rope', 3, 8)
  const angles = noise('angle', 6).map((a) => 3 * a)
  const [cos, sin] = [Math.cos, Math.sin].map((f) => t(tensor('f32', 3, 2), angles.map(f)))
  const [y] = apply('rope', { inverse: false }, x, cos!, sin!)
  const want = x.data.slice()
  for (const row of [0, 1, 2])
    for (const head of [0, 1])
      for (const i of [0, 1]) {
        const at = row * 8 + head * 4 + i
        const [length, angle] = [
          Math.hypot(x.data[at]!, x.data[at + 2]!),
          Math.atan2(x.data[at + 2]!, x.data[at]!) + angles[row * 2 + i]!,
        ]
        want[at] = length * Math.cos(angle)
        want[at + 2] = length * Math.sin(angle)
      }
  near(y!.data, want)
  near(apply('rope', { inverse: true }, y!, cos!, sin!)[0]!.data, x.data)
})

test('the loss: log-softmax at the target, nothing where it is −100', () => {
  const [x, w] = [matrix('x', 4, 3), matrix('w', 5, 3)]
  const targets = [2, -100, 0, 4]
  const [nll, lse] = apply('linearCrossEntropy', {}, x, w, t(tensor('i32', 2, 2), targets))
  const want = targets.map((target, i) => {
    if (target < 0) return 0
    const p = Array.from({ length: 5 }, (_, v) =>
      Math.exp([0, 1, 2].reduce((s, c) => s + x.data[i * 3 + c]! * w.data[v * 3 + c]!, 0)),
    )
    return -Math.log(p[target]! / p.reduce((a, b) => a + b))
  })
  near(nll!.data, Float64Array.from(want))
  assert.equal(lse!.data[1], 0)
})

test('RMSNorm and SwiGLU by their formulas', () => {
  const [x, w] = [matrix('x', 2, 3), t(tensor('f32', 3), noise('w', 3))]
  const [y] = apply('rmsNorm', { eps: 0.01 }, x, w)
  for (const r of [0, 1]) {
    const squares = [0, 1, 2].reduce((s, c) => s + x.data[3 * r + c]! ** 2, 0)
    for (const c of [0, 1, 2])
      holds(
        Math.abs(
          y!.data[3 * r + c]! - (x.data[3 * r + c]! / Math.sqrt(squares / 3 + 0.01)) * w.data[c]!,
        ) < 1e-12,
      )
  }
  const up = matrix('up', 2, 3)
  const [z] = apply('swiglu', {}, x, up)
  near(
    z!.data,
    x.data.map((g, i) => (g / (1 + Math.exp(-g))) * up.data[i]!),
  )
})

test('the loss of classes: weighted log-softmax, and one logit is two classes of which the first has 0', () => {
  const logits = matrix('logits', 3, 4)
  const targets = t(tensor('f32', 3, 4), [0, 2, 0, 0, 0.5, 0, 0.25, 0.25, 0, 0, 0, 0])
  const want = [0, 1, 2].map((row) => {
    const x = logits.data.slice(4 * row, 4 * row + 4)
    const p = [...x].map((v) => Math.exp(v) / [...x].reduce((s, y) => s + Math.exp(y), 0))
    return p.reduce((s, q, c) => s - targets.data[4 * row + c]! * Math.log(q), 0)
  })
  near(apply('classCrossEntropy', {}, logits, targets)[0]!.data, Float64Array.from(want))
  const odds = [1.5, -0.5]
  const two = t(tensor('f32', 2, 2), [0.25, 3, 1, 0])
  const binary = odds.map(
    (x, i) =>
      two.data[2 * i]! * Math.log(1 + Math.exp(x)) +
      two.data[2 * i + 1]! * Math.log(1 + Math.exp(-x)),
  )
  const [loss] = apply('classCrossEntropy', {}, t(tensor('f32', 2, 1), odds), two)
  near(loss!.data, Float64Array.from(binary))
})
