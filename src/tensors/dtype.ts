/** Element types of the safetensors format and the bytes that a shape of them takes. */
import * as E from 'fp-ts/lib/Either.js'

/** Bits per element. The order is the format's own alignment order, which decides where a writer puts a tensor. */
const bits = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  F8_E4M3FNUZ: 8,
  F8_E5M2FNUZ: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
} as const

export type Dtype = keyof typeof bits
export type Shape = ReadonlyArray<number>

export const dtypes = Object.keys(bits) as ReadonlyArray<Dtype>

/** Position in the alignment order, 0 for the least aligned. */
export const alignmentRank: ReadonlyMap<Dtype, number> = new Map(dtypes.map((d, i) => [d, i]))

export const isDtype = (name: unknown): name is Dtype =>
  typeof name === 'string' && Object.hasOwn(bits, name)

const limit = BigInt(Number.MAX_SAFE_INTEGER)

/**
 * Number of elements, exact; a zero size does not excuse sizes whose product is beyond 2^53.
 * Left: the end of a sentence about the tensor.
 */
export const elementCount = (shape: Shape): E.Either<string, number> => {
  let product = 1n
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0)
      return E.left(`has the size ${String(size)} in its shape`)
    if (size > 0) product *= BigInt(size)
    if (product > limit) return E.left('has a shape whose element count is beyond 2^53')
  }
  return E.right(shape.includes(0) ? 0 : Number(product))
}

/** Bytes that `shape` takes, exact. Left: the end of a sentence about the tensor. */
export const byteLength = (dtype: Dtype, shape: Shape): E.Either<string, number> =>
  E.chain((count: number): E.Either<string, number> => {
    const total = BigInt(count) * BigInt(bits[dtype])
    if (total % 8n !== 0n)
      return E.left(`has ${count} elements of ${bits[dtype]} bits, which do not fill whole bytes`)
    return total / 8n > limit
      ? E.left('has a shape whose byte count is beyond 2^53')
      : E.right(Number(total / 8n))
  })(elementCount(shape))
