/** NF4 against bitsandbytes' own numbers and against a second implementation. */
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { dynamicMap } from '../ir/dynamic-map.ts'
import { codebook, dequantize, quantize, roundTrip, views } from '../ir/nf4.ts'
import { toBf16 } from '../ir/number.ts'
import { bytes, parts, tensor, type FourBit } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'
import { dynamicValues, nf4 } from './nf4-oracle.ts'

const golden = JSON.parse(
  readFileSync(new URL('fixtures/nf4_test_vectors.json', import.meta.url), 'utf8'),
) as {
  readonly [k in 'packed_sha256' | 'qabsmax_sha256' | 'wdq_bf16_le_sha256']: string
} & {
  readonly [
    k in
      | 'x_first8'
      | 'packed_first16'
      | 'absmax_first4'
      | 'qabsmax_first8'
      | 'nested_absmax'
      | 'wdq_fp32_first8'
      | 'wdq_bf16_first8'
  ]: ReadonlyArray<number>
} & { readonly offset: number; readonly mse: number }

/** The fixture's values: a linear congruential generator, scaled differently in each block of 64. */
const fixture = (() => {
  let st = 12345
  return Float32Array.from({ length: 32768 }, (_, i) => {
    st = Number((1664525n * BigInt(st) + 1013904223n) % 2n ** 32n)
    const u = Math.floor(st / 256) / 2 ** 24 - 0.5
    return u * 0.1 * (1 + (Math.floor(i / 64) % 5))
  })
})()
const encoded = (x: Float32Array, dtype: FourBit) => {
  const type = tensor(dtype, x.length)
  const data = new Uint8Array(bytes(type))
  quantize(x, type, data)
  return { type, data, part: views(type, data) }
}
const sha256 = (b: Uint8Array): string => createHash('sha256').update(b).digest('hex')

test('tables: the codebook and the dynamic map are bitsandbytes’', () => {
  assert.deepEqual([...dynamicMap], [...dynamicValues])
  assert.equal(dynamicMap.length, 256)
  assert.deepEqual([dynamicMap[127], dynamicMap[255], codebook[7], codebook[15]], [0, 1, 0, 1])
})

test('double quantization equals bitsandbytes byte for byte', () => {
  assert.deepEqual([...fixture.slice(0, 8)], golden.x_first8)
  const { type, data, part } = encoded(fixture, 'nf4/64/256')
  assert.deepEqual([...part.u8('codes').slice(0, 16)], golden.packed_first16)
  assert.equal(sha256(part.u8('codes')), golden.packed_sha256)
  assert.deepEqual([...part.u8('scales').slice(0, 8)], golden.qabsmax_first8)
  assert.equal(sha256(part.u8('scales')), golden.qabsmax_sha256)
  assert.equal(part.f32('offset')[0], golden.offset)
  assert.deepEqual([...part.f32('nested')], golden.nested_absmax)
  const w = dequantize(type, data)
  assert.deepEqual([...w.slice(0, 8)], golden.wdq_fp32_first8)
  const half = new Uint8Array(Uint16Array.from(w, toBf16).buffer)
  assert.equal(sha256(half), golden.wdq_bf16_le_sha256)
  const mse = w.reduce((s, v, i) => s + (v - fixture[i]!) ** 2, 0) / w.length
  holds(Math.abs(mse - golden.mse) < 1e-6 * golden.mse)
})

test('single quantization keeps the largest magnitude of each block in f32', () => {
  const { part } = encoded(fixture, 'nf4/64')
  assert.deepEqual([...part.f32('scales').slice(0, 4)], golden.absmax_first4)
  assert.equal(sha256(part.u8('codes')), golden.packed_sha256)
})

/** Ordinary values, whole blocks of zeros, tiny and huge scales; any length, so odd ones and partial groups too. */
const tensorValues = fc
  .array(
    fc.tuple(
      fc.constantFrom(0, 1, 1, 1, 1e-20, 1e30),
      fc.array(fc.integer({ min: -1000, max: 1000 }), { minLength: 1, maxLength: 9 }),
    ),
    { minLength: 1, maxLength: 24 },
  )
  .map((pieces) => Float32Array.from(pieces.flatMap(([s, xs]) => xs.map((x) => (x / 1000) * s))))
const layouts = fc.constantFrom<readonly [number, number | null]>(
  [64, null],
  [64, 256],
  [4, null],
  [4, 3],
  [2, 8],
)
const dtypeOf = ([block, nested]: readonly [number, number | null]): FourBit =>
  nested === null ? `nf4/${block}` : `nf4/${block}/${nested}`

test('any tensor: equal to the second implementation byte for byte', () => {
  fc.assert(
    fc.property(tensorValues, layouts, (x, layout) => {
      const want = nf4(x, ...layout)
      const { type, data, part } = encoded(x, dtypeOf(layout))
      assert.deepEqual([...part.u8('codes')], [...want.packed])
      if (want.nested === null) assert.deepEqual([...part.f32('scales')], want.absmax)
      else {
        assert.deepEqual([...part.u8('scales')], want.nested.codes)
        assert.deepEqual([...part.f32('nested')], want.nested.absmax)
        assert.equal(part.f32('offset')[0], want.nested.offset)
      }
      assert.deepEqual([...dequantize(type, data)], [...want.values])
      assert.deepEqual([...roundTrip(x, dtypeOf(layout))], [...want.values])
    }),
    runs(200),
  )
})

test('blocks of zeros, and of values too small for a reciprocal, have codes of zero', () => {
  for (const x of [Float32Array.of(0, 0, 0), Float32Array.of(1e-45, -1e-45, 0)]) {
    const { type, data, part } = encoded(x, 'nf4/64/256')
    assert.deepEqual([...part.u8('codes')], [0x77, 0x70])
    assert.deepEqual([...dequantize(type, data)], [0, 0, 0])
  }
})

test('error bound: within half the widest gap of the codebook times the block scale', () => {
  const widest = codebook.slice(1).reduce((m, hi, k) => Math.max(m, (hi - codebook[k]!) / 2), 0)
  fc.assert(
    fc.property(tensorValues, fc.constantFrom(2, 4, 64), (x, block) => {
      const y = roundTrip(x, `nf4/${block}`)
      for (let i = 0; i < x.length; i++) {
        const from = i - (i % block)
        const m = x.subarray(from, from + block).reduce((a, v) => Math.max(a, Math.abs(v)), 0)
        holds(Math.abs(y[i]! - x[i]!) <= m * widest * (1 + 1e-6) + 1e-38)
      }
    }),
    runs(100),
  )
})

test('the trip is idempotent once scales are f32', () => {
  fc.assert(
    fc.property(tensorValues, (x) => {
      const once = roundTrip(x, 'nf4/4')
      assert.deepEqual([...roundTrip(once, 'nf4/4')], [...once])
    }),
    runs(100),
  )
})

test('storage: codes, then scales, then their scales and mean, aligned to 4 bytes', () => {
  const type = tensor('nf4/64/256', 129, 129)
  const at = parts(type).map((p) => [p.name, p.at, p.count])
  const blocks = Math.ceil((129 * 129) / 64)
  const codes = Math.ceil((129 * 129) / 2)
  const [s, n] = [Math.ceil(codes / 4) * 4, Math.ceil(blocks / 4) * 4]
  assert.deepEqual(at, [
    ['codes', 0, codes],
    ['scales', s, blocks],
    ['nested', s + n, 2],
    ['offset', s + n + 8, 1],
  ])
  assert.equal(bytes(type), s + n + 12)
  // 4.127 bits a parameter on a large matrix (QLoRA's 0.37 bits saved).
  holds(Math.abs((bytes(tensor('nf4/64/256', 4096, 4096)) * 8) / 4096 ** 2 - 4.126953) < 1e-4)
})
