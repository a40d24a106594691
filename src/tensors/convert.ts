/** Tensor bytes to `Float32Array` and back, rounding to nearest even; little-endian hosts only, as Node's usual ones. */
import * as E from 'fp-ts/lib/Either.js'
import { type Issue, issue } from '../issue.ts'
import type { Dtype } from './dtype.ts'

/** Formats that `fromF32` writes. */
export type FloatDtype = 'F32' | 'F16' | 'BF16'

const widenHalf = (half: number): number => {
  const sign = (half & 0x8000) << 16
  const exponent = (half >>> 10) & 0x1f
  const fraction = half & 0x3ff
  if (exponent === 0x1f) return sign | 0x7f800000 | (fraction << 13)
  if (exponent > 0) return sign | ((exponent + 112) << 23) | (fraction << 13)
  if (fraction === 0) return sign
  // A subnormal f16 is a normal f32: its leading bit becomes the hidden one.
  const shift = Math.clz32(fraction) - 21
  return sign | ((113 - shift) << 23) | (((fraction << shift) & 0x3ff) << 13)
}

/** The f32 bits of every f16. */
const halfTable = Int32Array.from({ length: 0x10000 }, (_, half) => widenHalf(half))

/** `bytes` from a position where typed arrays of `itemBytes` may view them. */
const aligned = (bytes: Uint8Array, itemBytes: number): Uint8Array =>
  bytes.byteOffset % itemBytes === 0 ? bytes : new Uint8Array(bytes)

const words = (bytes: Uint8Array): Uint16Array => {
  const at = aligned(bytes, 2)
  return new Uint16Array(at.buffer, at.byteOffset, at.byteLength / 2)
}

const fromHalf = (bytes: Uint8Array): Float32Array => {
  const source = words(bytes)
  const bits = new Int32Array(source.length)
  for (let i = 0; i < source.length; i++) bits[i] = halfTable[source[i]!]!
  return new Float32Array(bits.buffer)
}

const fromBrain = (bytes: Uint8Array): Float32Array => {
  const source = words(bytes)
  const bits = new Int32Array(source.length)
  for (let i = 0; i < source.length; i++) bits[i] = source[i]! << 16
  return new Float32Array(bits.buffer)
}

const fromDouble = (bytes: Uint8Array): Float32Array => {
  const at = aligned(bytes, 8)
  return new Float32Array(new Float64Array(at.buffer, at.byteOffset, at.byteLength / 8))
}

const fromSingle = (bytes: Uint8Array): Float32Array =>
  new Float32Array(new Uint8Array(bytes).buffer)

/** Bytes of one element, and the conversion of many. */
const readerOf = (
  dtype: Dtype,
): readonly [itemBytes: number, read: (bytes: Uint8Array) => Float32Array] | undefined => {
  switch (dtype) {
    case 'F32':
      return [4, fromSingle]
    case 'F16':
      return [2, fromHalf]
    case 'BF16':
      return [2, fromBrain]
    case 'F64':
      return [8, fromDouble]
    default:
      return undefined
  }
}

/**
 * A new array of the values: exact, except that F64 is rounded. NaNs stay NaNs.
 * Left: a dtype without such values, bytes that are not whole elements, or no memory.
 */
export const toF32 = (dtype: Dtype, bytes: Uint8Array): E.Either<Issue, Float32Array> => {
  const reader = readerOf(dtype)
  if (!reader)
    return E.left(
      issue(`tensors of dtype ${dtype} cannot be read as 32-bit floats`, {
        expected: 'F32, F16, BF16 or F64',
      }),
    )
  const [itemBytes, read] = reader
  if (bytes.length % itemBytes !== 0)
    return E.left(
      issue(`${bytes.length} bytes are no whole number of ${dtype} elements`, {
        expected: `a multiple of ${itemBytes}`,
      }),
    )
  return E.tryCatch(
    () => read(bytes),
    () =>
      issue(`there is no memory for ${bytes.length / itemBytes} 32-bit floats`, {
        hint: 'Node 20 holds at most 4 GiB in one array; later versions hold more',
      }),
  )
}

const narrowBrain = (bits: number): number => {
  const sign = (bits >>> 16) & 0x8000
  const size = bits & 0x7fffffff
  // The quiet bit keeps a NaN whose payload lies below the cut from becoming an infinity.
  if (size > 0x7f800000) return sign | 0x40 | (size >>> 16)
  return sign | ((size + 0x7fff + ((size >>> 16) & 1)) >>> 16)
}

const narrowHalf = (bits: number): number => {
  const sign = (bits >>> 16) & 0x8000
  const size = bits & 0x7fffffff
  if (size > 0x7f800000) return sign | 0x7e00 | ((size >>> 13) & 0x3ff)
  // 65520, half-way from the largest f16 to the next that there would be.
  if (size >= 0x477ff000) return sign | 0x7c00
  if (size >= 0x38800000) return sign | ((size - 0x38000000 + 0xfff + ((size >>> 13) & 1)) >>> 13)
  // 2^-25, half the least subnormal, is a tie and goes to zero.
  if (size <= 0x33000000) return sign
  const shift = 126 - (size >>> 23)
  const fraction = (size & 0x7fffff) | 0x800000
  return sign | ((fraction + (1 << (shift - 1)) - 1 + ((fraction >>> shift) & 1)) >>> shift)
}

const narrow = (values: Float32Array, narrowOne: (bits: number) => number): Uint8Array => {
  const bits = new Int32Array(values.buffer, values.byteOffset, values.length)
  const out = new Uint16Array(values.length)
  for (let i = 0; i < bits.length; i++) out[i] = narrowOne(bits[i]!)
  return new Uint8Array(out.buffer)
}

/** New bytes of the values, rounded to nearest even; too large becomes infinite, NaNs stay NaNs. */
export const fromF32 = (dtype: FloatDtype, values: Float32Array): Uint8Array => {
  switch (dtype) {
    case 'F32':
      return new Uint8Array(new Float32Array(values).buffer)
    case 'F16':
      return narrow(values, narrowHalf)
    case 'BF16':
      return narrow(values, narrowBrain)
  }
}
