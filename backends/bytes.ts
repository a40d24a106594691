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

/** Why bytes cannot be the contents of a tensor, or null. */
export const misfit = (type: TensorType, stored: Uint8Array): string | null =>
  stored.byteLength === byteSize(type)
    ? null
    : `${byteSize(type)} bytes expected${isEncoded(type.dtype) ? ' (encoded)' : ''}, got ${stored.byteLength}`
