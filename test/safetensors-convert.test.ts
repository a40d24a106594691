/** Conversions against a slow oracle that knows only what a binary floating-point number is. */
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import { type FloatDtype, fromF32, toF32 } from '../src/tensors/convert.ts'
import { dtypes } from '../src/tensors/dtype.ts'
import { openFile } from '../src/tensors/reader.ts'
import { right } from './safetensors-arbitrary.ts'

interface Format {
  readonly exponentBits: number
  readonly fractionBits: number
}
const formats: Readonly<Record<'F16' | 'BF16', Format>> = {
  F16: { exponentBits: 5, fractionBits: 10 },
  BF16: { exponentBits: 8, fractionBits: 7 },
}
const names = ['F16', 'BF16'] as const

/** The number that a 16-bit code stands for, by the definition of the format. */
const valueOf = ({ exponentBits, fractionBits }: Format, code: number): number => {
  const sign = code >= 0x8000 ? -1 : 1
  const exponent = Math.floor(code / 2 ** fractionBits) % 2 ** exponentBits
  const fraction = (code % 2 ** fractionBits) / 2 ** fractionBits
  const bias = 2 ** (exponentBits - 1) - 1
  if (exponent === 2 ** exponentBits - 1) return fraction === 0 ? sign * Infinity : NaN
  return exponent === 0
    ? sign * fraction * 2 ** (1 - bias)
    : sign * (1 + fraction) * 2 ** (exponent - bias)
}

const tables = {
  F16: Float64Array.from({ length: 0x7c01 }, (_, code) => valueOf(formats.F16, code)),
  BF16: Float64Array.from({ length: 0x7f81 }, (_, code) => valueOf(formats.BF16, code)),
}

/** The code of the nearest value; of two, the even code: by bisection over all codes of one sign. */
const nearest = (name: 'F16' | 'BF16', value: number): number => {
  const table = tables[name]
  const at = (code: number): number => table[code] ?? NaN
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  const infinite = table.length - 1
  let below = 0
  let above = infinite
  while (above - below > 1) {
    const middle = Math.floor((below + above) / 2)
    if (at(middle) <= size) below = middle
    else above = middle
  }
  if (size === Infinity) return sign + infinite
  // Infinity rounds as the value that would come next.
  const top = above === infinite ? 2 * at(below) - at(below - 1) : at(above)
  const down = size - at(below)
  const up = top - size
  return sign + (down < up || (down === up && below % 2 === 0) ? below : above)
}

const codesOf = (bytes: Uint8Array): ReadonlyArray<number> => {
  const buffer = Buffer.from(bytes)
  return Array.from({ length: bytes.length / 2 }, (_, i) => buffer.readUInt16LE(2 * i))
}

const widened = (dtype: 'F16' | 'BF16' | 'F32' | 'F64', bytes: Uint8Array): Float32Array => {
  const result = toF32(dtype, bytes)
  return E.isRight(result) ? result.right : assert.fail(result.left.message)
}

const bitsOf = (values: Float32Array): ReadonlyArray<number> => [
  ...new Uint32Array(values.buffer, values.byteOffset, values.length),
]

const allCodes = new Uint8Array(Uint16Array.from({ length: 65_536 }, (_, i) => i).buffer)

for (const name of names) {
  const format = formats[name]

  test(`all 65,536 codes of ${name} widen exactly`, () => {
    const values = widened(name, allCodes)
    for (let code = 0; code < 65_536; code++)
      assert.ok(Object.is(values[code], valueOf(format, code)), `code ${code}`)
  })

  test(`all 65,536 codes of ${name} come back, NaN as a NaN of the same sign and payload`, () => {
    const quiet = 2 ** (format.fractionBits - 1)
    const expected = codesOf(allCodes).map((code) =>
      Number.isNaN(valueOf(format, code)) ? code | quiet : code,
    )
    assert.deepEqual(codesOf(fromF32(name, widened(name, allCodes))), expected)
  })

  test(`every tie between codes of ${name}, and its neighbours, round to nearest even`, () => {
    const bits: Array<number> = []
    for (let code = 0; code < 65_536; code++) {
      const value = valueOf(format, code)
      const next = valueOf(format, code + 1)
      const tie = Number.isFinite(next)
        ? (value + next) / 2
        : value * (1 + 2 ** (-2 - format.fractionBits))
      if (!Number.isFinite(value) || Math.fround(tie) !== tie) continue
      const [at = 0] = bitsOf(Float32Array.of(tie))
      bits.push(at, at + 1, at === 0 ? 0 : at - 1)
    }
    const values = new Float32Array(Uint32Array.from(bits).buffer)
    const codes = codesOf(fromF32(name, values))
    assert.ok(values.length > 100_000)
    for (const [i, value] of values.entries())
      if (codes[i] !== nearest(name, value)) assert.fail(`${value}: ${codes[i]}`)
  })

  test(`any f32 rounds to the nearest ${name}, ties to even, too large to infinity`, () => {
    fc.assert(
      fc.property(fc.uint32Array({ minLength: 50, maxLength: 50 }), (bits) => {
        const values = new Float32Array(bits.slice().buffer)
        const codes = codesOf(fromF32(name, values))
        for (const [i, value] of values.entries())
          assert.ok(
            Number.isNaN(value)
              ? Number.isNaN(valueOf(format, codes[i] ?? 0))
              : codes[i] === nearest(name, value),
            `${value}: ${codes[i]}`,
          )
      }),
      { numRuns: 1000 },
    )
  })

  test(`numbers of the range of ${name} round to nearest, subnormals too`, () => {
    const smallest = valueOf(format, 1)
    fc.assert(
      fc.property(fc.double({ min: -3000, max: 3000, noNaN: true }), (scale) => {
        const values = Float32Array.of(scale * smallest, scale, scale * 22, scale * 1e-3)
        assert.deepEqual(
          codesOf(fromF32(name, values)),
          [...values].map((value) => nearest(name, value)),
        )
      }),
      { numRuns: 2000 },
    )
  })
}

test('the edges of f16 are those of the standard', () => {
  const f16 = (value: number): number | undefined =>
    codesOf(fromF32('F16', Float32Array.of(value)))[0]
  assert.equal(f16(65504), 0x7bff)
  assert.equal(f16(65519.996), 0x7bff)
  assert.equal(f16(65520), 0x7c00)
  assert.equal(f16(-Infinity), 0xfc00)
  assert.equal(f16(2 ** -24), 1)
  assert.equal(f16(2 ** -25), 0)
  assert.equal(f16(-(2 ** -25)), 0x8000)
  assert.equal(f16(2 ** -25 * (1 + 2 ** -23)), 1)
  assert.equal(f16(2 ** -14 - 2 ** -26), 0x0400)
})

test('NaNs whose payload lies below the cut do not become infinities', () => {
  const values = new Float32Array(
    Uint32Array.of(0x7f800001, 0xff800001, 0x7fffffff, 0xffffffff).buffer,
  )
  for (const name of names) {
    const codes = codesOf(fromF32(name, values))
    assert.ok(codes.every((code) => Number.isNaN(valueOf(formats[name], code))))
    assert.deepEqual(
      codes.map((code) => code >= 0x8000),
      [false, true, false, true],
    )
  }
})

test('F32 keeps every bit and F64 rounds to nearest', () => {
  fc.assert(
    fc.property(fc.uint32Array(), fc.float64Array(), (bits, doubles) => {
      const bytes = fromF32('F32', new Float32Array(bits.slice().buffer))
      assert.deepEqual(bitsOf(widened('F32', bytes)), [...bits])
      const rounded = widened('F64', new Uint8Array(doubles.slice().buffer))
      assert.deepEqual([...rounded], [...doubles].map(Math.fround))
    }),
  )
})

test('the result shares no memory, and unaligned or pooled bytes convert the same', () => {
  const formatsOf: ReadonlyArray<FloatDtype> = ['F32', 'F16', 'BF16']
  const values = Float32Array.of(0, 1, -2.5, 2 ** -20, 3e8)
  for (const dtype of formatsOf) {
    const bytes = fromF32(dtype, values)
    const expected = [...widened(dtype, bytes)]
    for (let offset = 0; offset < 8; offset++) {
      const shifted = Buffer.alloc(bytes.length + 16).subarray(offset, offset + bytes.length)
      shifted.set(bytes)
      const read = widened(dtype, shifted)
      shifted.fill(0)
      assert.deepEqual([...read], expected)
    }
    const view = new Float32Array(Float32Array.of(9, ...values).buffer, 4)
    const written = fromF32(dtype, view)
    view.fill(0)
    assert.deepEqual(written, bytes)
  }
  const f64 = new Uint8Array(17)
  f64.set(new Uint8Array(Float64Array.of(0.5, -3).buffer), 1)
  assert.deepEqual([...widened('F64', f64.subarray(1))], [0.5, -3])
  assert.deepEqual([...widened('F16', new Uint8Array())], [])
})

test('other dtypes and broken lengths are issues', () => {
  for (const dtype of dtypes) {
    const known = ['F32', 'F16', 'BF16', 'F64'].includes(dtype)
    assert.equal(E.isRight(toF32(dtype, new Uint8Array(8))), known, dtype)
    assert.ok(E.isLeft(toF32(dtype, new Uint8Array(7))), dtype)
  }
})

test('torch agrees about the reference file', async () => {
  const folder = new URL('./fixtures/safetensors/', import.meta.url)
  const text = await readFile(new URL('reference.json', folder), 'utf8')
  const facts = JSON.parse(text) as Record<string, { readonly f32?: ReadonlyArray<number> }>
  const file = await right(openFile(new URL('reference.safetensors', folder).pathname))
  for (const [name, { f32 }] of Object.entries(facts)) {
    if (!f32) continue
    const dtype = file.tensors.get(name)?.dtype ?? assert.fail(name)
    const values = toF32(dtype, await right(file.read(name)))
    assert.ok(E.isRight(values))
    const torch = new Float32Array(Int32Array.from(f32).buffer)
    assert.deepEqual([...values.right], [...torch], name)
  }
})
