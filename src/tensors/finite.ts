/** Numbers that are not finite, looked for in values and in stored bytes: one NaN in a weight ruins all that is computed with it. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import type { Dtype, Shape } from './dtype.ts'

/** A tensor as a message names it. */
export interface Named {
  readonly name: string
  readonly shape: Shape
  /** As it is stored. */
  readonly dtype?: Dtype
  readonly file?: string
}

/** `[row, column]` of an index into row-major values. */
export const placeIn = (shape: Shape, index: number): string => {
  const place: Array<number> = []
  let rest = index
  for (const size of shape.toReversed()) {
    place.unshift(rest % size)
    rest = Math.floor(rest / size)
  }
  return `[${place.join(', ')}]`
}

const aligned = (bytes: Uint8Array, itemBytes: number): Uint8Array =>
  bytes.byteOffset % itemBytes === 0 ? bytes : new Uint8Array(bytes)

const words = (bytes: Uint8Array): Uint16Array => {
  const at = aligned(bytes, 2)
  return new Uint16Array(at.buffer, at.byteOffset, at.byteLength / 2)
}

/** An exponent of ones only, and no fraction: an infinity; with one: a NaN. */
const brokenWord =
  (exponent: number) =>
  (bytes: Uint8Array): readonly [index: number, value: number] | null => {
    const found = words(bytes)
    for (let i = 0; i < found.length; i++) {
      const bits = found[i]!
      if ((bits & exponent) === exponent)
        return [i, bits & ~exponent & 0x7fff ? NaN : bits & 0x8000 ? -Infinity : Infinity]
    }
    return null
  }

const brokenValue = (
  values: Float32Array | Float64Array,
): readonly [index: number, value: number] | null => {
  for (let i = 0; i < values.length; i++)
    // Only a finite number less itself is zero.
    if (values[i]! - values[i]! !== 0) return [i, values[i]!]
  return null
}

const brokenIn = (dtype: Dtype, bytes: Uint8Array): ReturnType<typeof brokenValue> => {
  const [four, eight] = [() => aligned(bytes, 4), () => aligned(bytes, 8)]
  switch (dtype) {
    case 'F16':
      return brokenWord(0x7c00)(bytes)
    case 'BF16':
      return brokenWord(0x7f80)(bytes)
    case 'F32':
      return brokenValue(new Float32Array(four().buffer, four().byteOffset, bytes.length / 4))
    case 'F64':
      return brokenValue(new Float64Array(eight().buffer, eight().byteOffset, bytes.length / 8))
    default:
      return null
  }
}

const found = (
  { name, shape, file }: Named,
  [index, value]: readonly [number, number],
  how: string,
  hint: string,
): E.Either<Issue, never> =>
  E.left(
    issue(`${name} ${how} ${value} at ${placeIn(shape, index)}`, {
      ...(file === undefined ? {} : { file }),
      path: name,
      expected: 'finite numbers',
      hint,
    }),
  )

const DAMAGED =
  'the file is damaged, or was saved by a run that had diverged: download or export it again'

/** The values, read from a file. Left: the first that is not finite. */
export const finiteValues = (of: Named, values: Float32Array): E.Either<Issue, Float32Array> => {
  const broken = brokenValue(values)
  const how = of.dtype === 'F64' ? 'read as 32-bit floats holds' : 'holds'
  return broken === null ? E.right(values) : found(of, broken, how, DAMAGED)
}

/** The bytes, read from a file; of a dtype without such numbers, they pass. Left: the first number that is not finite. */
export const finiteBytes = (
  of: Named,
  dtype: Dtype,
  bytes: Uint8Array,
): E.Either<Issue, Uint8Array> => {
  const broken = brokenIn(dtype, bytes)
  return broken === null ? E.right(bytes) : found(of, broken, 'holds', DAMAGED)
}

/** The bytes, rounded from finite values. Left: the first value that was too large for the dtype. */
export const roundedBytes = (
  of: Named,
  dtype: Dtype,
  bytes: Uint8Array,
  hint: string,
): E.Either<Issue, Uint8Array> => {
  const broken = brokenIn(dtype, bytes)
  return broken === null ? E.right(bytes) : found(of, broken, `rounded to ${dtype} becomes`, hint)
}
