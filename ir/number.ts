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
