/** 8-bit weights against bitsandbytes' own numbers (`fixtures/int8/make.py`). */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dequantize, quantize, roundTrip } from '../ir/encoding.ts'
import { views } from '../ir/int8.ts'
import { round, toHalves } from '../ir/number.ts'
import { bytes, parts, tensor } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'

interface Weight {
  readonly shape: readonly [number, number]
  readonly values: ReadonlyArray<number>
  readonly codes: ReadonlyArray<number>
  readonly scales: ReadonlyArray<number>
  readonly decoded: ReadonlyArray<number>
}
const { weights } = JSON.parse(
  readFileSync(new URL('fixtures/int8/vectors.json', import.meta.url), 'utf8'),
) as { readonly weights: ReadonlyArray<Weight> }

for (const w of weights)
  test(`codes, scales and decoded values of [${w.shape.join(', ')}] are bitsandbytes’`, () => {
    const type = tensor('int8', ...w.shape)
    const data = new Uint8Array(bytes(type))
    quantize(Float32Array.from(w.values), type, data)
    const { codes, scales } = views(type, data)
    assert.deepEqual([...codes], w.codes)
    assert.deepEqual([...scales], w.scales)
    assert.deepEqual([...dequantize(type, data)], w.decoded)
  })

test('storage: a byte a value, then an f32 a row', () => {
  const type = tensor('int8', 3, 5)
  assert.deepEqual(
    parts(type).map((p) => [p.name, p.dtype, p.at, p.count]),
    [
      ['codes', 'i8', 0, 15],
      ['scales', 'f32', 16, 3],
    ],
  )
  assert.equal(bytes(tensor('int8', 4096, 4096)), 4096 * 4096 + 4 * 4096)
})

const matrix = fc
  .tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 9 }))
  .chain(([rows, width]) =>
    fc.record({
      rows: fc.constant(rows),
      width: fc.constant(width),
      x: fc
        .array(fc.tuple(fc.integer({ min: -1000, max: 1000 }), fc.constantFrom(1e-6, 1, 60)), {
          minLength: rows * width,
          maxLength: rows * width,
        })
        .map((xs) => Float32Array.from(xs, ([v, s]) => v * s)),
    }),
  )

test('every value comes back within half a step of its row, the largest as it was in f16; another trip changes no bit', () => {
  fc.assert(
    fc.property(matrix, ({ rows, width, x }) => {
      const type = tensor('int8', rows, width)
      const y = roundTrip(type, x)
      for (let i = 0; i < rows; i++) {
        const half = Array.from(x.subarray(i * width, (i + 1) * width), round.f16)
        const most = Math.max(...half.map(Math.abs))
        half.forEach((v, l) => holds(Math.abs(y[i * width + l]! - v) <= (most / 254) * 1.00001))
      }
      assert.deepEqual([...roundTrip(type, y)], [...y])
    }),
    runs(300),
  )
})

test('values rounded to f16 by the million are rounded as one by one', () => {
  fc.assert(
    fc.property(fc.array(fc.float({ noNaN: true }), { maxLength: 20 }), (xs) => {
      const edges = [
        65504,
        65519.99,
        65520,
        2 ** -14,
        2 ** -14 * 0.9999,
        2 ** -25,
        0,
        1.00048828125,
      ]
      const x = Float32Array.from([...xs, ...edges, ...edges.map((v) => -v)])
      assert.deepEqual([...toHalves(x)], Array.from(x, round.f16))
    }),
    runs(200),
  )
})
