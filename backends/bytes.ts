/** Values of tensors as the bytes of their dtype, and back. */
import { fromBf16, fromF16, round, toBf16, toF16 } from '../ir/number.ts'
import { bytes as byteSize, isEncoded, type Plain, type TensorType } from '../ir/type.ts'

type Numbers = ArrayLike<number>

const aligned = (b: Uint8Array): Uint8Array => (b.byteOffset % 4 === 0 ? b : b.slice())

/** Rounds values to a plain dtype and stores them. */
export const encode = (type: TensorType, values: Numbers): Uint8Array => {
  const store = {
    f32: () => new Uint8Array(Float32Array.from(values).buffer),
    f16: () => new Uint8Array(Uint16Array.from(values, (x) => toF16(round.f16(x))).buffer),
    bf16: () => new Uint8Array(Uint16Array.from(values, toBf16).buffer),
    i32: () => new Uint8Array(Int32Array.from(values).buffer),
    i8: () => new Uint8Array(Int8Array.from(values, round.i8).buffer),
    u8: () => Uint8Array.from(values, round.u8),
    bool: () => Uint8Array.from(values, round.bool),
  } satisfies { [K in Plain]: () => Uint8Array }
  return store[type.dtype as Plain]()
}

/** The numbers of a plain tensor. */
export const decode = (type: TensorType, stored: Uint8Array): Float64Array => {
  const b = aligned(stored)
  const n = b.byteLength
  const load = {
    f32: () => Float64Array.from(new Float32Array(b.buffer, b.byteOffset, n / 4)),
    f16: () => Float64Array.from(new Uint16Array(b.buffer, b.byteOffset, n / 2), fromF16),
    bf16: () => Float64Array.from(new Uint16Array(b.buffer, b.byteOffset, n / 2), fromBf16),
    i32: () => Float64Array.from(new Int32Array(b.buffer, b.byteOffset, n / 4)),
    i8: () => Float64Array.from(new Int8Array(b.buffer, b.byteOffset, n)),
    u8: () => Float64Array.from(b),
    bool: () => Float64Array.from(b),
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
