/** Scores changed by what a sequence holds already, in transformers' order: repeated tokens, repeated n-grams, banned ids. */

export interface Constraints {
  /** Scores of tokens that occurred are divided by it where they are positive, and multiplied where negative; 1: as they are. */
  readonly repetition: number
  /** No sequence of so many tokens occurs twice; 0: any may. */
  readonly ngram: number
}

export const unconstrained: Constraints = { repetition: 1, ngram: 0 }

export const isFree = (c: Constraints): boolean => c.repetition === 1 && c.ngram === 0

/** Ids that would end an n-gram which occurred before. */
const repeated = (ids: ReadonlyArray<number>, n: number): ReadonlySet<number> => {
  const last = ids.slice(ids.length - (n - 1))
  const found = new Set<number>()
  // The last place where an n-gram may begin and be whole.
  for (let i = 0; i + n <= ids.length; i++)
    if (last.every((id, k) => ids[i + k] === id)) found.add(ids[i + n - 1]!)
  return found
}

/** The scores after a sequence of ids; the same array where nothing changes. */
export const constrained = (
  scores: Float32Array,
  ids: ReadonlyArray<number>,
  c: Constraints,
  banned: ReadonlyArray<number>,
): Float32Array => {
  if (isFree(c) && banned.length === 0) return scores
  const open = scores.slice()
  if (c.repetition !== 1)
    for (const id of new Set(ids)) {
      const x = scores[id]!
      open[id] = x < 0 ? x * c.repetition : x / c.repetition
    }
  if (c.ngram > 0 && ids.length + 1 >= c.ngram)
    for (const id of repeated(ids, c.ngram)) open[id] = -Infinity
  for (const id of banned) open[id] = -Infinity
  return open
}
