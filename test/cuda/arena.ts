/** An arena for emulated launches: operands with gaps between their rows, and a check that nothing else was written. */
import assert from 'node:assert/strict'
import { decode, encode } from '../../backends/bytes.ts'
import type { Rows } from '../../backends/cuda/kernels/card.ts'
import type { KernelLaunch } from '../../backends/cuda/launch.ts'
import type { Tensor } from '../../ir/op.ts'
import { bytes, isEncoded, tensor, type Float, type Plain, type TensorType } from '../../ir/type.ts'
import { emulate } from './emulate.ts'

export interface Held extends Rows {
  readonly type: TensorType
}
/** Rows and columns of a tensor: all dimensions but the last are rows. */
const gridOf = (t: TensorType): readonly [number, number] => {
  const width = t.shape.at(-1) ?? 1
  return [t.shape.reduce((a, b) => a * b, 1) / width, width]
}

export const makeArena = (size = 1 << 21) => {
  const memory = Buffer.alloc(size + 256, 0xff)
  // Results of the emulation are only comparable when 16-byte alignment is.
  let next = 0
  const written: Array<readonly [from: number, to: number]> = []
  const hold = (type: TensorType, gap = 0, shift = 0): Held => {
    const [rows, width] = isEncoded(type.dtype) ? [1, bytes(type)] : gridOf(type)
    const each = isEncoded(type.dtype) ? 1 : bytes(tensor(type.dtype, 1))
    const offset = Math.ceil(next / 16) * 16 + shift * each
    next = offset + rows * (width + gap) * each + 16
    if (next > size) throw new Error('the arena is too small')
    return { offset, ld: width + gap, type }
  }
  const spans = (h: Held): ReadonlyArray<readonly [number, number]> => {
    if (isEncoded(h.type.dtype)) return [[h.offset, h.offset + bytes(h.type)]]
    const [rows, width] = gridOf(h.type)
    const each = bytes(tensor(h.type.dtype, 1))
    return Array.from({ length: rows }, (_, r) => {
      const from = h.offset + r * h.ld * each
      return [from, from + width * each] as const
    })
  }
  /** A place for an operand, filled. */
  const put = (t: Tensor, gap = 0, shift = 0): Held => {
    const h = hold(t.type, gap, shift)
    const data = isEncoded(t.type.dtype) ? Uint8Array.from(t.data) : encode(t.type, t.data)
    let at = 0
    for (const [from, to] of spans(h)) {
      memory.set(data.subarray(at, at + to - from), from)
      at += to - from
    }
    return h
  }
  /** A place that a launch may write. */
  const out = (type: TensorType, gap = 0, shift = 0): Held => {
    const h = hold(type, gap, shift)
    written.push(...spans(h))
    return h
  }
  const mayWrite = (h: Held): Held => {
    written.push(...spans(h))
    return h
  }
  const raw = (h: Held): Uint8Array =>
    Buffer.concat(spans(h).map(([a, b]) => memory.subarray(a, b)))
  const get = (h: Held): Float64Array => Float64Array.from(decode(h.type, Uint8Array.from(raw(h))))
  const scratch = (length: number): number => out(tensor('u8', Math.max(4, length))).offset
  const run = (launches: KernelLaunch | ReadonlyArray<KernelLaunch>): void => {
    const before = Buffer.from(memory)
    emulate(memory, Array.isArray(launches) ? launches : [launches as KernelLaunch])
    for (const [from, to] of written) before.set(memory.subarray(from, to), from)
    assert.ok(before.equals(memory), 'a byte outside the results was written')
  }
  return { put, out, mayWrite, get, raw, scratch, run }
}
export type Arena = ReturnType<typeof makeArena>

/** One unit in the last place of the type, relative. */
const unit: { readonly [K in Float]: number } = { f32: 2 ** -24, bf16: 2 ** -8, f16: 2 ** -11 }

/** Within half a unit of the type around what f32 arithmetic leaves of the exact value. */
export const close = (
  what: string,
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  dtype: Plain,
  slack = 4e-6,
): void => {
  // Operands are about 1: terms that cancel leave their own rounding.
  const top = Array.from(want).reduce((a, x) => Math.max(a, Math.abs(x)), 1)
  const one = dtype in unit ? unit[dtype as Float] : 0
  assert.equal(got.length, want.length, what)
  for (let i = 0; i < want.length; i++) {
    const bound = 1.01 * one * Math.abs(want[i]!) + slack * top + (dtype === 'f16' ? 2 ** -25 : 0)
    const gap = Math.abs(got[i]! - want[i]!)
    assert.ok(gap <= bound, `${what}[${i}]: ${got[i]} for ${want[i]}, ${gap} off, ${bound} allowed`)
  }
}
