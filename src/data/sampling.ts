/** Which rows of a table are used at all. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, one, type Issues } from '../issue.ts'
import { permutation, purpose, random } from './random.ts'

/** Either a share of the rows, in (0, 1], or a number of them; neither: all. */
export interface SampleSpec {
  readonly ratio?: number
  readonly size?: number
}

/** Python's `round`: halves go to the even neighbour. */
const roundHalfEven = (x: number): number => {
  const down = Math.floor(x)
  const rest = x - down
  return rest > 0.5 || (rest === 0.5 && down % 2 === 1) ? down + 1 : down
}

/**
 * Row indices to use out of `n`: all in order, or ⌊ratio·n⌉ or `size` of them in an order drawn from the seed.
 * Which rows these are differs from pandas' `sample` with the same seed. Left: a ratio that keeps no row.
 */
export const sampleRows = (
  n: number,
  spec: SampleSpec,
  seed: number,
): E.Either<Issues, ReadonlyArray<number>> => {
  const { ratio = 1, size } = spec
  if (!(ratio > 0 && ratio <= 1))
    return E.left(
      one(
        issue(`sample_ratio is ${ratio}`, {
          path: 'preprocessing.sample_ratio',
          expected: 'a number above 0 and at most 1',
        }),
      ),
    )
  if (ratio * n < 1)
    return E.left(
      one(
        issue(`sample_ratio ${ratio} of ${n} rows is less than one row`, {
          path: 'preprocessing.sample_ratio',
        }),
      ),
    )
  if (size !== undefined && !(Number.isInteger(size) && size > 0))
    return E.left(
      one(
        issue(`sample_size is ${size}`, {
          path: 'preprocessing.sample_size',
          expected: 'a whole number above 0',
        }),
      ),
    )
  const count = Math.min(size ?? n, roundHalfEven(ratio * n))
  return E.right(
    count < n
      ? permutation(n, random(seed, purpose.sample)).slice(0, count)
      : Array.from({ length: n }, (_, i) => i),
  )
}
