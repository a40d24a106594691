/** Values of tensors as the bytes of their dtype, and back. */
import { fromBf16, fromF16, round, toBf16, toF16 } from '../ir/number.ts'
import { bytes as byteSize, isEncoded, type Plain, type TensorType } from '../ir/type.ts'

type Numbers = ArrayLike<number>

const aligned = (b: Uint8Array): Uint8Array => (b.byteOffset % 4 === 0 ? b : b.slice())

type Store = Float64Array | Float32Array | Uint16Array | Int32Array | Int8Array | Uint8Array

/** Fills by a loop: `from` with a function would first make a list of objects, many times as large. */
const filled = <T extends Store>(out: T, values: Numbers, f: (x: number) => number): T => {
  for (let i = 0; i < out.length; i++) out[i] = f(values[i]!)
  return out
}
const asBytes = (x: Store): Uint8Array => new Uint8Array(x.buffer)

/** Rounds values to a plain dtype and stores them. */
export const encode = (type: TensorType, values: Numbers): Uint8Array => {
  const n = values.length
  const store = {
    f32: () => asBytes(new Float32Array(values)),
    f16: () => asBytes(filled(new Uint16Array(n), values, (x) => toF16(round.f16(x)))),
    bf16: () => asBytes(filled(new Uint16Array(n), values, toBf16)),
    i32: () => asBytes(new Int32Array(values)),
    i8: () => asBytes(filled(new Int8Array(n), values, round.i8)),
    u8: () => filled(new Uint8Array(n), values, round.u8),
    bool: () => filled(new Uint8Array(n), values, round.bool),
  } satisfies { [K in Plain]: () => Uint8Array }
  return store[type.dtype as Plain]()
}

/** The numbers of a plain tensor. */
export const decode = (type: TensorType, stored: Uint8Array): Float64Array => {
  const b = aligned(stored)
  const n = b.byteLength
  const shorts = (f: (x: number) => number) => {
    const from = new Uint16Array(b.buffer, b.byteOffset, n / 2)
    return filled(new Float64Array(n / 2), from, f)
  }
  const load = {
    f32: () => new Float64Array(new Float32Array(b.buffer, b.byteOffset, n / 4)),
    f16: () => shorts(fromF16),
    bf16: () => shorts(fromBf16),
    i32: () => new Float64Array(new Int32Array(b.buffer, b.byteOffset, n / 4)),
    i8: () => new Float64Array(new Int8Array(b.buffer, b.byteOffset, n)),
    u8: () => new Float64Array(b),
    bool: () => new Float64Array(b),
  } satisfies { [K in Plain]: () => Float64Array }
  return load[type.dtype as Plain]()
}

/** f16 by its bits: as many as fit a table. */
let halves: Float32Array | null = null
const halfTable = (): Float32Array =>
  (halves ??= Float32Array.from({ length: 65536 }, (_, bits) => fromF16(bits)))

/** The numbers of a plain tensor as f32, which holds every float type: logits come by the million. */
export const decodeF32 = (type: TensorType, stored: Uint8Array): Float32Array => {
  const b = aligned(stored)
  const n = b.byteLength
  if (type.dtype === 'f32') return new Float32Array(b.buffer, b.byteOffset, n / 4)
  if (type.dtype !== 'bf16' && type.dtype !== 'f16') return Float32Array.from(decode(type, b))
  const from = new Uint16Array(b.buffer, b.byteOffset, n / 2)
  if (type.dtype === 'bf16') {
    const bits = new Uint32Array(from.length)
    for (let i = 0; i < from.length; i++) bits[i] = from[i]! << 16
    return new Float32Array(bits.buffer)
  }
  const table = halfTable()
  const out = new Float32Array(from.length)
  for (let i = 0; i < from.length; i++) out[i] = table[from[i]!]!
  return out
}

/** Why bytes cannot be the contents of a tensor, or null. */
export const misfit = (type: TensorType, stored: Uint8Array): string | null =>
  stored.byteLength === byteSize(type)
    ? null
    : `${byteSize(type)} bytes expected${isEncoded(type.dtype) ? ' (encoded)' : ''}, got ${stored.byteLength}`
