/** The order in which an epoch visits its samples. */
import { permutation, purpose, random } from './random.ts'

/**
 * 0 … n−1 as they stand, or shuffled by (seed, epoch) and nothing else, so that a resumed run
 * finds the order of any epoch without having lived through those before it.
 */
export const order = (
  n: number,
  seed: number,
  epoch: number,
  shuffle: boolean,
): ReadonlyArray<number> =>
  shuffle
    ? permutation(n, random(seed, purpose.order, epoch))
    : Array.from({ length: n }, (_, i) => i)
