/** Products of 8-bit floats: near the exact product row by row, exact where nothing is rounded, gradients of the same kind. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { opOf } from '../ir/ops/index.ts'
import { fromFloat8, largest8 } from '../ir/number.ts'
import type { Program } from '../ir/graph.ts'
import { showReason } from '../ir/reason.ts'
import { isFloat, tensor } from '../ir/type.ts'
import { differentiate, lora, precision, quantize, simplify } from '../passes/index.ts'
import { compile, type Pass } from '../passes/pass.ts'
import { fc, holds, runs } from './fc.ts'
import { noise, sameBits, through } from './laws.ts'
import { apply, t } from './op-cases.ts'
import { forward, plainSpec, targets } from './programs.ts'

const shape = fc.record({
  m: fc.integer({ min: 1, max: 4 }),
  k: fc.integer({ min: 1, max: 9 }),
  n: fc.integer({ min: 1, max: 4 }),
  tb: fc.boolean(),
  left: fc.constantFrom('e4m3', 'e5m2'),
  seed: fc.nat(9999),
  /** Rows of very different size: a scale a row hides it. */
  power: fc.integer({ min: -90, max: 90 }),
})
const spread = (x: ArrayLike<number>, width: number, power: number): Float64Array =>
  Float64Array.from(x, (v, i) => v * 2 ** (Math.floor(i / width) % 2 === 0 ? 0 : power))
const half = { e4m3: 2 ** -4, e5m2: 2 ** -3 } as const

test('every element is off by half a step of each operand, and by what is subnormal beside the largest of its row', () => {
  fc.assert(
    fc.property(shape, ({ m, k, n, tb, left, seed, power }) => {
      const x = spread(noise(`x${seed}`, m * k), k, power)
      const w = noise(`w${seed}`, n * k)
      const type = tb ? tensor('f32', n, k) : tensor('f32', k, n)
      const [y] = apply(
        'float8Dot',
        { tb, left, back: 'e4m3' },
        t(tensor('f32', m, k), x),
        t(type, w),
      )
      const at = (j: number, l: number) => w[tb ? j * k + l : l * n + j]!
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) {
          const each = (f: (a: number, b: number) => number) =>
            Array.from({ length: k }, (_, l) => f(x[i * k + l]!, at(j, l)))
          const sum = (list: ReadonlyArray<number>) => list.reduce((a, b) => a + b, 0)
          const most = (list: ReadonlyArray<number>) => Math.max(...list.map(Math.abs))
          const [xs, ws] = [most(each((a) => a)), most(each((_, b) => b))]
          // Half a step relative, or half of the smallest step: 2^-9 of 448 and 2^-16 of 57344.
          const tiny = { e4m3: 2 ** -17, e5m2: 2 ** -31 }
          const bound = sum(
            each((a, b) => {
              const da = Math.max(half[left] * Math.abs(a), tiny[left] * xs)
              const db = Math.max(half.e4m3 * Math.abs(b), tiny.e4m3 * ws)
              return da * Math.abs(b) + db * Math.abs(a) + da * db
            }),
          )
          const exact = sum(each((a, b) => a * b))
          const gap = Math.abs(y!.data[i * n + j]! - exact)
          holds(gap <= bound * (1 + 1e-9), `${gap} of ${bound} at ${i}, ${j}`)
        }
    }),
    runs(300),
  )
})

test('exact where every line is codes times a power of two', () => {
  const code = fc.integer({ min: 0, max: 255 }).filter((c) => (c & 0x7f) !== 0x7f)
  const line = (k: number) =>
    fc
      .tuple(fc.array(code, { minLength: k, maxLength: k }), fc.integer({ min: -20, max: 20 }))
      // The largest code is there, so that the scale is the one that was meant.
      .map(([codes, p]) =>
        [largest8('e4m3'), ...codes.map((c) => fromFloat8('e4m3', c))].map((v) => v * 2 ** p),
      )
  const lines = fc
    .integer({ min: 1, max: 5 })
    .chain((k) => fc.tuple(fc.array(line(k), { minLength: 1, maxLength: 3 }), line(k)))
  fc.assert(
    fc.property(lines, ([rows, w]) => {
      const x = t(tensor('f32', rows.length, w.length), rows.flat())
      const attrs = { left: 'e4m3', back: 'e4m3' }
      const [a] = apply('float8Dot', { ...attrs, tb: true }, x, t(tensor('f32', 1, w.length), w))
      const [b] = apply('float8Dot', { ...attrs, tb: false }, x, t(tensor('f32', w.length, 1), w))
      const want = rows.map((r) => r.reduce((s, v, l) => s + v * w[l]!, 0))
      holds(sameBits(a!.data, Float64Array.from(want)))
      holds(sameBits(b!.data, Float64Array.from(want)))
    }),
    runs(200),
  )
})

test('a row with an infinity or a NaN gives NaN, and no other row does', () => {
  for (const odd of [Infinity, -Infinity, NaN]) {
    const [y] = apply(
      'float8Dot',
      { tb: true, left: 'e4m3', back: 'e4m3' },
      t(tensor('f32', 2, 2), [odd, 1, 1, 1]),
      t(tensor('f32', 1, 2), [1, 1]),
    )
    assert.deepEqual([...y!.data], [NaN, 2])
  }
})

const adapters = lora({ r: 2, alpha: 3, dropout: 0, targets })
const eight = precision({ compute: 'float8' })
const count = (p: Program, op: string, stage: string): number =>
  p.fns
    .filter((f) => f.minimizes !== undefined)
    .flatMap((f) => f.eqns)
    .filter((e) => e.op === op && e.place.stage === stage).length

test('precision(float8): frozen x·Wᵀ and its gradient by x are products of 8 bits, all else is as in bf16', () => {
  for (const encoded of [true, false]) {
    const passes: ReadonlyArray<Pass> = [
      adapters,
      ...(encoded ? [quantize({ block: 4, nested: null })] : []),
    ]
    const both = ([eight, precision({ compute: 'bf16' })] as const).map((last) =>
      through(...passes, last, differentiate, simplify)(forward(plainSpec, 1)),
    ) as [Program, Program]
    const [p, q] = both
    const linear = 7
    assert.equal(count(p, 'float8Dot', 'forward'), linear)
    for (const stage of ['forward', 'backward']) {
      holds(count(p, 'float8Dot', stage) > 0)
      assert.equal(
        count(p, 'float8Dot', stage) + count(p, 'dot', stage),
        count(q, 'dot', stage),
        stage,
      )
    }
    for (const e of p.fns.flatMap((f) => f.eqns).filter((x) => x.op === 'float8Dot')) {
      holds(isFloat(e.types[0]!.dtype) && e.types[0]!.dtype === 'bf16')
      assert.equal(e.attrs['tb'], e.place.stage === 'forward')
    }
    assert.deepEqual(p.state, q.state)
  }
})

test('e5m2 for cotangents can be asked for', () => {
  const p = through(
    adapters,
    precision({ compute: 'float8', back: 'e5m2' }),
    differentiate,
    simplify,
  )(forward(plainSpec, 1))
  for (const e of p.fns.flatMap((f) => f.eqns).filter((x) => x.op === 'float8Dot'))
    assert.equal(e.attrs['left'], e.place.stage === 'forward' ? 'e4m3' : 'e5m2')
})

test('refused: float8 where no linear weight is frozen; a gradient by the weight', () => {
  const made = compile([eight])(forward(plainSpec, 1))
  holds(E.isLeft(made))
  assert.match(showReason(made.left.reason), /none is frozen: add an adapter/)
  holds(
    opOf('float8Dot').vjp!({
      alg: null as never,
      attrs: { tb: true, left: 'e4m3', back: 'e4m3' },
      args: [],
      types: [],
      outs: [],
      cts: [],
    })[1] === null,
  )
})
