/** Which training rows are shown with a row: any, seeded by the row, or those whose embeddings point most nearly the same way. */
import { permutation, random } from '../data/random.ts'

/** Tells these draws from those of the data's other random streams. */
const PURPOSE = 6

/** `k` of the pool, without those to be left out; the same for a row whatever others there are. */
export const randomRows = (
  pool: ReadonlyArray<number>,
  k: number,
  seed: number,
  row: number,
  without: (candidate: number) => boolean,
): ReadonlyArray<number> => {
  const open = pool.filter((p) => !without(p))
  return permutation(open.length, random(seed, PURPOSE, row))
    .slice(0, k)
    .map((i) => open[i]!)
}

/** Vectors of one length side by side. */
export interface Embeddings {
  readonly size: number
  readonly values: Float32Array
}

/** Each vector by its length; one without a direction stays as it is. */
export const directions = ({ size, values }: Embeddings): Embeddings => {
  const unit = values.slice()
  for (let at = 0; at < unit.length; at += size) {
    let sum = 0
    for (let i = at; i < at + size; i++) sum += unit[i]! * unit[i]!
    if (sum > 0) for (let i = at; i < at + size; i++) unit[i]! /= Math.sqrt(sum)
  }
  return { size, values: unit }
}

const cosine = (a: Embeddings, i: number, b: Embeddings, j: number): number => {
  let sum = 0
  for (let n = 0; n < a.size; n++) sum += a.values[i * a.size + n]! * b.values[j * b.size + n]!
  return sum
}

/** The `k` of the pool nearest to a query, nearest first; of equals the earlier row. All are looked at. `pool` and `queries` are directions. */
export const nearestRows = (
  all: Embeddings,
  pool: ReadonlyArray<number>,
  queries: Embeddings,
  row: number,
  k: number,
  without: (candidate: number) => boolean,
): ReadonlyArray<number> =>
  pool
    .filter((p) => !without(p))
    .map((p) => ({ p, near: cosine(queries, row, all, p) }))
    .toSorted((a, b) => b.near - a.near || a.p - b.p)
    .slice(0, k)
    .map(({ p }) => p)
