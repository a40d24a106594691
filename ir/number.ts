/** Rounding to the float formats of tensors: to nearest, ties to even, subnormals kept, overflow to infinity. */
import type { Plain } from './type.ts'

const f32 = new Float32Array(1)
const u32 = new Uint32Array(f32.buffer)

/** bfloat16 is the upper half of an f32. Two roundings (to f32, then to bf16) are the format's own definition on hardware. */
export const toBf16 = (x: number): number => {
  f32[0] = x
  const bits = u32[0]!
  if (Number.isNaN(x)) return 0x7fc0
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff
}

export const fromBf16 = (bits: number): number => {
  u32[0] = (bits << 16) >>> 0
  return f32[0]!
}

/** Rounds to a multiple of the spacing at x; exact because scaling by a power of two is. */
export const roundF16 = (x: number): number => {
  if (!Number.isFinite(x) || x === 0) return x
  const a = Math.abs(x)
  const exponent = Math.max(Math.floor(Math.log2(a)), -14)
  // log2 can round up to the next power of two; one step down is corrected by the spacing test.
  const e = 2 ** exponent > a && exponent > -14 ? exponent - 1 : exponent
  const spacing = 2 ** (e - 10)
  const q = a / spacing
  const floor = Math.floor(q)
  const rest = q - floor
  const up = rest > 0.5 || (rest === 0.5 && floor % 2 === 1)
  const r = (up ? floor + 1 : floor) * spacing
  return Math.sign(x) * (r >= 65520 ? Infinity : r)
}

/** Many f32 values rounded to f16 by their bits: a weight has millions. */
export const toHalves = (x: Float32Array): Float32Array => {
  const r = x.slice()
  const bits = new Uint32Array(r.buffer)
  for (let i = 0; i < r.length; i++) {
    const b = bits[i]!
    // Below the least normal number, and where it overflows, spacing is another.
    const exponent = (b >>> 23) & 255
    if (exponent < 127 - 14 || exponent > 127 + 14) r[i] = roundF16(r[i]!)
    else bits[i] = ((b + 0xfff + ((b >>> 13) & 1)) & 0xffffe000) >>> 0
  }
  return r
}

/** The 16 bits of an f16 value. */
export const toF16 = (x: number): number => {
  const r = roundF16(x)
  const sign = r < 0 || Object.is(r, -0) ? 0x8000 : 0
  const a = Math.abs(r)
  if (Number.isNaN(r)) return 0x7e00
  if (a === Infinity) return sign | 0x7c00
  if (a < 2 ** -14) return sign | (a * 2 ** 24)
  const e = Math.floor(Math.log2(a))
  return sign | ((e + 15) << 10) | ((a / 2 ** e - 1) * 1024)
}

export const fromF16 = (bits: number): number => {
  const sign = bits & 0x8000 ? -1 : 1
  const e = (bits >>> 10) & 31
  const m = bits & 1023
  if (e === 31) return m === 0 ? sign * Infinity : NaN
  return e === 0 ? sign * m * 2 ** -24 : sign * (1 + m / 1024) * 2 ** (e - 15)
}

/** The 8-bit float formats of tensor cores (OFP8): e4m3 without infinities, e5m2. */
export type Float8 = 'e4m3' | 'e5m2'

interface Format {
  readonly mantissa: number
  readonly bias: number
  /** 1.75 · 2^top, the largest number of both formats. */
  readonly top: number
}
const formats: { readonly [F in Float8]: Format } = {
  e4m3: { mantissa: 3, bias: 7, top: 8 },
  e5m2: { mantissa: 2, bias: 15, top: 15 },
}
export const largest8 = (f: Float8): number => 1.75 * 2 ** formats[f].top
const NAN8 = 0x7f

const f64 = new Float64Array(1)
const u64 = new BigUint64Array(f64.buffer)
/** floor(log2 a) of a positive number, from its bits; of f64 subnormals something far below every format. */
const exponentOf = (a: number): number => {
  f64[0] = a
  return Number((u64[0]! >> 52n) & 2047n) - 1023
}

/** The 8 bits of a number: to nearest, ties to even, what is too large becomes the largest (infinities too). */
export const toFloat8 = (f: Float8, x: number): number => {
  if (Number.isNaN(x)) return NAN8
  const { mantissa, bias } = formats[f]
  const sign = x < 0 || Object.is(x, -0) ? 0x80 : 0
  const a = Math.min(Math.abs(x), largest8(f))
  const e = a === 0 ? 1 - bias : Math.max(exponentOf(a), 1 - bias)
  const q = a / 2 ** (e - mantissa)
  const [floor, rest] = [Math.floor(q), q - Math.floor(q)]
  const n = rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor
  // Codes count: the leading bit of n is the lowest of the exponent, and a carry moves on to the next one.
  return sign | (((e + bias - 1) << mantissa) + n)
}

export const fromFloat8 = (f: Float8, code: number): number => {
  const { mantissa, bias } = formats[f]
  const sign = code & 0x80 ? -1 : 1
  const [e, m] = [(code & 0x7f) >> mantissa, code & (2 ** mantissa - 1)]
  if (f === 'e4m3' ? (code & 0x7f) === NAN8 : e === 31 && m > 0) return NaN
  if (f === 'e5m2' && e === 31) return sign * Infinity
  return e === 0
    ? sign * m * 2 ** (1 - bias - mantissa)
    : sign * (1 + m / 2 ** mantissa) * 2 ** (e - bias)
}

export const roundFloat8 = (f: Float8, x: number): number => fromFloat8(f, toFloat8(f, x))

/**
 * The factor of a row whose largest absolute value is `most`: the least power of two (from 2^-126 on) by which nothing divided becomes too
 * large. Scaling by it is exact, so where values are neither saturated nor subnormal it changes no bit. Zeros: 1. Not finite: NaN.
 */
export const scaleFloat8 = (f: Float8, most: number): number => {
  if (!Number.isFinite(most)) return NaN
  if (most === 0) return 1
  const e = exponentOf(most)
  return 2 ** Math.max(e - formats[f].top + (most > 1.75 * 2 ** e ? 1 : 0), -126)
}

const int = (lo: number, hi: number) => (x: number) => Math.min(hi, Math.max(lo, Math.round(x)))

/** What a value becomes when it is stored in a dtype. */
export const round: { readonly [K in Plain]: (x: number) => number } = {
  f32: Math.fround,
  f16: (x) => roundF16(Math.fround(x)),
  bf16: (x) => fromBf16(toBf16(x)),
  i32: (x) => x | 0,
  i8: int(-128, 127),
  u8: int(0, 255),
  bool: (x) => (x === 0 ? 0 : 1),
}
