/** A seeded source of pseudo-random numbers (mulberry32), so that a seed always gives the same file. */

/** The next number in [0, 1). */
export type Random = () => number

export const random = (seed: number): Random => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A whole number between `low` and `high`, both included. */
export const int = (rng: Random, low: number, high: number): number =>
  low + Math.floor(rng() * (high - low + 1))

/** One element of a list that is not empty. */
export const pick = <A>(rng: Random, all: readonly [A, ...(readonly A[])]): A =>
  all[int(rng, 0, all.length - 1)] ?? all[0]

/** `n` whole numbers between `low` and `high`, no two alike. */
export const distinct = (rng: Random, n: number, low: number, high: number): readonly number[] => {
  const chosen = new Set<number>()
  while (chosen.size < n) chosen.add(int(rng, low, high))
  return [...chosen]
}
