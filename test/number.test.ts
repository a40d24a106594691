/** Rounding to f16 and bf16 against tables of every value of the format. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  fromBf16,
  fromF16,
  fromFloat8,
  largest8,
  round,
  roundF16,
  roundFloat8,
  scaleFloat8,
  toBf16,
  toF16,
  toFloat8,
} from '../ir/number.ts'
import { decodeF32 } from '../backends/bytes.ts'
import { tensor } from '../ir/type.ts'
import { fc, holds, runs } from './fc.ts'

const view = new DataView(new ArrayBuffer(4))
const f32OfBits = (bits: number): number => {
  view.setUint32(0, bits >>> 0)
  return view.getFloat32(0)
}
const bitsOfF32 = (x: number): number => {
  view.setFloat32(0, x)
  return view.getUint32(0)
}

/** An f16 by widening its fields to those of an f32. */
const f16OfCode = (code: number): number => {
  const [sign, e, m] = [code >>> 15, (code >>> 10) & 31, code & 1023]
  if (e === 0) return (sign === 1 ? -1 : 1) * (m / 1024) * 2 ** -14
  const wide = e === 31 ? 255 : e + 112
  return f32OfBits(sign * 2 ** 31 + wide * 2 ** 23 + m * 2 ** 13)
}
const bf16OfCode = (code: number): number => f32OfBits(code * 65536)

/** Non-negative finite values in order: the code is the index. */
const ladder = (of: (code: number) => number, infinity: number): ReadonlyArray<number> =>
  Array.from({ length: infinity }, (_, code) => of(code))
const F16 = ladder(f16OfCode, 0x7c00)
const BF16 = ladder(bf16OfCode, 0x7f80)

/** Nearest value of a ladder by bisection; a tie goes to the even code; past the last by half a step is infinite. */
const nearest = (values: ReadonlyArray<number>, x: number): number => {
  if (Number.isNaN(x)) return NaN
  const [sign, a] = [x < 0 || Object.is(x, -0) ? -1 : 1, Math.abs(x)]
  const last = values.at(-1)!
  if (a > last) return sign * (a >= last + (last - values.at(-2)!) / 2 ? Infinity : last)
  let [lo, hi] = [0, values.length - 1]
  while (hi - lo > 1) {
    const mid = (lo + hi) >> 1
    if (values[mid]! <= a) lo = mid
    else hi = mid
  }
  const [below, above] = [a - values[lo]!, values[hi]! - a]
  const up = above < below || (above === below && lo % 2 === 1)
  return sign * values[up ? hi : lo]!
}

test('f16: all 65,536 codes decode, and encode to themselves', () => {
  for (let code = 0; code < 65536; code++) {
    const x = f16OfCode(code)
    holds(Object.is(fromF16(code), x), `code ${code}`)
    if (!Number.isNaN(x)) assert.equal(toF16(x), code)
    holds(Object.is(roundF16(x), x), `code ${code}`)
  }
})

test('bf16: all 65,536 codes decode, and encode to themselves', () => {
  for (let code = 0; code < 65536; code++) {
    const x = bf16OfCode(code)
    holds(Object.is(fromBf16(code), x), `code ${code}`)
    if (!Number.isNaN(x)) assert.equal(toBf16(x), code)
  }
})

test('f16: every tie goes to the even code, its neighbours to the nearer one', () => {
  for (let code = 0; code + 1 < F16.length; code++) {
    const middle = (F16[code]! + F16[code + 1]!) / 2
    for (const x of [middle, middle * (1 + 2 ** -40), middle * (1 - 2 ** -40)])
      for (const y of [x, -x]) holds(Object.is(roundF16(y), nearest(F16, y)), `${y}`)
  }
})

test('bf16: every tie goes to the even code, the next f32 to the nearer one', () => {
  for (let code = 0; code + 1 < BF16.length; code++) {
    const middle = bitsOfF32(BF16[code]!) + 0x8000
    for (const bits of [middle - 1, middle, middle + 1]) {
      const x = f32OfBits(bits)
      for (const y of [x, -x]) holds(Object.is(round.bf16(y), nearest(BF16, y)), `${y}`)
    }
  }
})

test('f16 and bf16: any number, through f32', () => {
  const number = fc.oneof(
    fc.double(),
    fc.float(),
    fc.float({ min: -70000, max: 70000 }),
    fc.float({ min: Math.fround(-1e-4), max: Math.fround(1e-4) }),
  )
  fc.assert(
    fc.property(number, (x) => {
      const y = Math.fround(x)
      holds(Object.is(round.f16(x), nearest(F16, y)), `${x}`)
      holds(Object.is(round.bf16(x), nearest(BF16, y)), `${x}`)
      holds(Object.is(fromF16(toF16(x)), nearest(F16, x)), `${x}`)
    }),
    runs(2000),
  )
})

test('overflow: the last finite f16 is 65504, half a step further is infinite', () => {
  assert.deepEqual([65504, 65519, 65520, -65520].map(roundF16), [65504, 65504, Infinity, -Infinity])
  assert.equal(round.bf16(3.4e38), Infinity)
})

/** OFP8's tables, of the fields of each code. */
const float8OfCode = {
  e4m3: (code: number): number => {
    const [sign, e, m] = [code >>> 7, (code >>> 3) & 15, code & 7]
    if (e === 15 && m === 7) return NaN
    const a = e === 0 ? m / 512 : ((8 + m) / 8) * 2 ** (e - 7)
    return sign === 1 ? -a : a
  },
  // The upper half of an f16.
  e5m2: (code: number): number => f16OfCode(code << 8),
} as const
const FLOAT8 = {
  e4m3: ladder(float8OfCode.e4m3, 0x7f),
  e5m2: ladder(float8OfCode.e5m2, 0x7c),
} as const
const both = ['e4m3', 'e5m2'] as const

test('8 bits: all 256 codes decode, and what is finite encodes to itself', () => {
  for (const f of both)
    for (let code = 0; code < 256; code++) {
      const x = float8OfCode[f](code)
      holds(Object.is(fromFloat8(f, code), x), `${f} code ${code}`)
      if (Number.isFinite(x)) assert.equal(toFloat8(f, x), code)
    }
  assert.deepEqual(
    both.map((f) => FLOAT8[f].at(-1)),
    [448, 57344],
  )
})

test('8 bits: every tie goes to the even code, its neighbours to the nearer one; nothing overflows', () => {
  for (const f of both) {
    const values = FLOAT8[f]
    for (let code = 0; code + 1 < values.length; code++) {
      const middle = (values[code]! + values[code + 1]!) / 2
      for (const x of [middle, middle * (1 + 2 ** -40), middle * (1 - 2 ** -40)])
        for (const y of [x, -x])
          holds(Object.is(roundFloat8(f, y), nearest(values, y)), `${f} ${y}`)
    }
    for (const x of [largest8(f), largest8(f) * 1.2, 1e300, Infinity])
      for (const y of [x, -x]) assert.equal(roundFloat8(f, y), Math.sign(y) * largest8(f))
    holds(Number.isNaN(roundFloat8(f, NaN)))
  }
})

test('8 bits: the scale of a row is the least power of two that keeps its largest value in the format', () => {
  const positive = fc.oneof(
    fc.float({ noNaN: true, noDefaultInfinity: true }),
    fc.integer({ min: -148, max: 127 }).map((e) => 2 ** e),
    fc.integer({ min: -140, max: 127 }).map((e) => 1.75 * 2 ** e),
    fc.integer({ min: -140, max: 126 }).map((e) => Math.fround(1.75 * 2 ** e * (1 + 2 ** -22))),
  )
  fc.assert(
    fc.property(positive, fc.constantFrom(...both), (x, f) => {
      const a = Math.abs(x)
      const s = scaleFloat8(f, a)
      if (a === 0) return assert.equal(s, 1)
      holds(Number.isInteger(Math.log2(s)) && Math.fround(s) === s && Math.fround(1 / s) === 1 / s)
      holds(a / s <= largest8(f))
      holds(s === 2 ** -126 || a / (s / 2) > largest8(f), `${a} ${s}`)
    }),
    runs(2000),
  )
  for (const f of both) for (const odd of [Infinity, NaN]) holds(Number.isNaN(scaleFloat8(f, odd)))
})

test('16-bit tensors as f32, also from bytes that are not aligned', () => {
  const codes = Uint16Array.from({ length: 65536 }, (_, i) => i)
  for (const [dtype, of] of [
    ['bf16', bf16OfCode],
    ['f16', f16OfCode],
  ] as const)
    for (const shift of [0, 1, 2]) {
      const held = new Uint8Array(codes.byteLength + 4)
      held.set(new Uint8Array(codes.buffer), shift)
      const stored = held.subarray(shift, shift + codes.byteLength)
      const got = decodeF32(tensor(dtype, 65536), stored)
      got.forEach((x, code) => assert.ok(Object.is(x, of(code)), `${dtype} ${code}: ${x}`))
    }
})
