/** Random first values of adapters: each depends on the run's seed, the tensor's name and its place alone. */
import { hash32 } from './random.ts'
import { size, type TensorType } from './type.ts'

const nameHash = (name: string): number =>
  [...name].reduce((h, c) => Math.imul(h ^ c.codePointAt(0)!, 16777619), 2166136261)

/** U(−1/√in, 1/√in) for a [out, in] matrix. */
export const kaiming = (name: string, type: TensorType, seed: number): Float32Array => {
  const bound = 1 / Math.sqrt(type.shape[1] ?? 1)
  const salt = nameHash(name)
  return new Float32Array(size(type)).map(
    (_, i) => ((hash32(seed, salt, i) / 2 ** 32) * 2 - 1) * bound,
  )
}

/** Standard normal, of two uniform numbers each (Box and Muller 1958). */
export const standardNormal = (name: string, seed: number): ((i: number) => number) => {
  const salt = nameHash(name)
  const uniform = (i: number): number => (hash32(seed, salt, i) + 0.5) / 2 ** 32
  return (i) =>
    Math.sqrt(-2 * Math.log(uniform(2 * i))) * Math.cos(2 * Math.PI * uniform(2 * i + 1))
}

export const normal = (
  name: string,
  type: TensorType,
  deviation: number,
  seed: number,
): Float32Array => {
  const z = standardNormal(name, seed)
  return new Float32Array(size(type)).map((_, i) => deviation * z(i))
}

export const length = (x: ArrayLike<number>): number => {
  let squares = 0
  for (let i = 0; i < x.length; i++) squares += x[i]! ** 2
  return Math.sqrt(squares)
}

/** The length of each row of a matrix. */
export const rowLengths = (x: Float32Array, columns: number): Float32Array =>
  new Float32Array(x.length / columns).map((_, i) =>
    length(x.subarray(i * columns, (i + 1) * columns)),
  )

const DEPENDENT = 1e-12

/** Rows made orthogonal and of length one, from first to last (Gram and Schmidt); in place. */
export const orthonormal = (rows: ReadonlyArray<Float64Array>): void => {
  rows.forEach((row, i) => {
    const was = length(row)
    // Twice: one pass leaves what rounding made of nearly parallel rows.
    for (const before of [...rows.slice(0, i), ...rows.slice(0, i)]) {
      const along = before.reduce((s, x, k) => s + x * row[k]!, 0)
      before.forEach((x, k) => (row[k]! -= along * x))
    }
    // What lies in the span of those before is rounding, and counts for nothing.
    const left = length(row)
    const by = left > DEPENDENT * was ? 1 / left : 0
    row.forEach((x, k) => (row[k] = x * by))
  })
}

/**
 * PEFT's orthogonal start: of a random orthogonal matrix Q [r, r] A spans the odd rows and B the even ones, each by
 * normal numbers over 10. B·A is zero, and neither is.
 */
export const orthogonal = (
  module: string,
  part: 'A' | 'B',
  type: TensorType,
  seed: number,
): Float32Array => {
  const [r, wide] = part === 'A' ? type.shape : [type.shape[1], type.shape[0]]
  const z = standardNormal(`${module} Q`, seed)
  const q = Array.from({ length: r! }, (_, i) =>
    Float64Array.from({ length: r! }, (_, k) => z(i * r! + k)),
  )
  orthonormal(q)
  const half = q.filter((_, i) => i % 2 === (part === 'A' ? 0 : 1))
  const mix = standardNormal(`${module} ${part}`, seed)
  // The value for one of `wide` columns of A or rows of B, at rank k.
  const at = (j: number, k: number): number =>
    half.reduce((s, row, h) => s + mix(j * half.length + h) * row[k]!, 0) / 10
  return new Float32Array(size(type)).map((_, i) =>
    part === 'A' ? at(i % wide!, Math.floor(i / wide!)) : at(Math.floor(i / r!), i % r!),
  )
}
