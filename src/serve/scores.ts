/** How likely a token was, and which others were. */
import { logProb } from '../generate/sample.ts'

export interface Likely {
  readonly id: number
  /** Natural logarithm of its probability, before temperature and penalties. */
  readonly logProb: number
}

export interface Scored extends Likely {
  /** The likeliest of all, in order. */
  readonly top: ReadonlyArray<Likely>
}

/** What the real API says of a token that cannot be. */
const NEVER = -9999

const likely = (scores: Float32Array, id: number): Likely => ({
  id,
  logProb: Math.max(NEVER, logProb(scores, id)),
})

/** The ids of the largest scores, of equals the lowest first. */
const largest = (scores: Float32Array, count: number): ReadonlyArray<number> => {
  const top: Array<number> = []
  for (let id = 0; id < scores.length; id++) {
    if (top.length === count && scores[id]! <= scores[top.at(-1)!]!) continue
    const at = top.findIndex((other) => scores[other]! < scores[id]!)
    top.splice(at < 0 ? top.length : at, 0, id)
    if (top.length > count) top.pop()
  }
  return top
}

export const scoredOf = (scores: Float32Array, id: number, count: number): Scored => ({
  ...likely(scores, id),
  top: count === 0 ? [] : largest(scores, count).map((other) => likely(scores, other)),
})
