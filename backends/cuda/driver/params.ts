/** Arguments of a kernel as bytes: each at its natural alignment, tensor maps by value. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Arg } from '../launch.ts'
import type { Driver } from './driver.ts'
import { type Cuda, cudaError, each, OWN } from './error.ts'
import { aligned } from './stable.ts'

/** Where an argument lies in the bytes. */
export interface Field {
  readonly offset: number
  readonly size: number
}

export interface Params {
  readonly bytes: Buffer
  readonly fields: ReadonlyArray<Field>
}

export const MAP_BYTES = 128

type Map = Extract<Arg, { _tag: 'map' }>

const BFLOAT16 = 9
/** Columns of a tensor map's box: 64 elements of 16 bits are the 128 bytes of the swizzle. */
const BOX_COLUMNS = 64
const SWIZZLE_128B = 3
const L2_128B = 2

/** A 2-D tensor map of 16-bit elements at an address; bits are moved, not converted, so f16 is bf16 here. */
const encodeMap = (d: Driver, base: bigint, m: Map): Cuda<Buffer> => {
  // cuTensorMapEncodeTiled wants its 128 bytes aligned to 64, which a buffer of its own need not be.
  const raw = aligned(MAP_BYTES, 128)
  const at = base + BigInt(m.offset)
  if (at % 16n !== 0n || (m.ld * 2) % 16 !== 0)
    return E.left(
      cudaError(
        'cuTensorMapEncodeTiled',
        OWN,
        'TENSOR_MAP_NOT_ALIGNED',
        `a tensor map needs an address and rows of multiples of 16 bytes, not offset ${m.offset} and rows of ${m.ld * 2} bytes`,
      ),
    )
  return pipe(
    d.call(
      'cuTensorMapEncodeTiled',
      raw,
      BFLOAT16,
      2,
      at,
      BigUint64Array.of(BigInt(m.columns), BigInt(m.rows)),
      BigUint64Array.of(BigInt(m.ld) * 2n),
      Uint32Array.of(BOX_COLUMNS, m.boxRows),
      Uint32Array.of(1, 1),
      0,
      SWIZZLE_128B,
      L2_128B,
      0,
    ),
    E.map(() => raw),
  )
}

const word = (write: (b: Buffer) => void): Cuda<Buffer> => {
  const b = Buffer.alloc(4)
  write(b)
  return E.right(b)
}

const address = (x: bigint): Buffer => {
  const b = Buffer.alloc(8)
  b.writeBigUInt64LE(x)
  return b
}

const bytesOf =
  (d: Driver, base: bigint) =>
  (a: Arg): Cuda<Buffer> => {
    switch (a._tag) {
      case 'at':
        return E.right(address(base + BigInt(a.offset)))
      case 'null':
        return E.right(address(0n))
      case 'i32':
        return word((b) => b.writeInt32LE(a.value))
      case 'u32':
        return word((b) => b.writeUInt32LE(a.value))
      case 'f32':
        return word((b) => b.writeFloatLE(a.value))
      case 'map':
        return encodeMap(d, base, a)
    }
  }

/** A map is aligned to 64 bytes, all else to its size. */
const alignment = (size: number): number => (size === MAP_BYTES ? 64 : size)

/** Packs arguments whose offsets count from `base`. */
export const pack = (d: Driver, base: bigint, args: ReadonlyArray<Arg>): Cuda<Params> =>
  pipe(
    each(args, bytesOf(d, base)),
    E.map((parts) => {
      let end = 0
      const fields = parts.map((p) => {
        const step = alignment(p.length)
        const offset = Math.ceil(end / step) * step
        end = offset + p.length
        return { offset, size: p.length }
      })
      const bytes = Buffer.alloc(end)
      parts.forEach((p, i) => p.copy(bytes, fields[i]!.offset))
      return { bytes, fields }
    }),
  )
