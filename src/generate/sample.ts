/** The next token from logits: the likeliest, or drawn after temperature, top-k and top-p as transformers defines them. */
import { random } from '../data/random.ts'

/** How tokens are chosen. Temperature 0 takes the likeliest; top-k 0 and top-p 1 exclude none. */
export interface Sampling {
  readonly temperature: number
  readonly topK: number
  readonly topP: number
  readonly seed: number
}

/** What a draw depends on besides the seed: nothing of how sequences were batched. */
export interface Place {
  /** Number of the sequence among all that are answered. */
  readonly sequence: number
  /** Place in the sequence of the token to be chosen. */
  readonly position: number
}

/** Tells these draws from those of the data's random streams (`purpose` in data/random.ts). */
const PURPOSE = 4

/** A number in [0, 1) with 53 random bits. */
const uniform = (seed: number, { sequence, position }: Place): number => {
  const { next } = random(seed, PURPOSE, sequence, position)
  const high = next() >>> 5
  return (high * 2 ** 26 + (next() >>> 6)) / 2 ** 53
}

/** The id of the largest logit, the lowest of equals; null when one is not a number. */
export const likeliest = (logits: Float32Array): number | null => {
  let best = 0
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!
    if (Number.isNaN(x)) return null
    if (x > logits[best]!) best = i
  }
  return best
}

/** The k-th largest of the logits, in one pass with the k largest so far in ascending order. */
const kthLargest = (logits: Float32Array, k: number): number => {
  const top = new Float32Array(k).fill(-Infinity)
  for (const x of logits) {
    if (x <= top[0]!) continue
    let at = 0
    for (; at + 1 < k && top[at + 1]! < x; at++) top[at] = top[at + 1]!
    top[at] = x
  }
  return top[0]!
}

interface Candidate {
  readonly id: number
  /** Not normalised. */
  readonly weight: number
}

/** All tokens no less likely than the k-th: equals of the last are kept. */
const topK = (logits: Float32Array, k: number, temperature: number): ReadonlyArray<Candidate> => {
  const least = k > 0 && k < logits.length ? kthLargest(logits, k) : -Infinity
  const most = logits[likeliest(logits)!]!
  const kept: Array<Candidate> = []
  logits.forEach((x, id) => {
    if (x >= least && x > -Infinity) kept.push({ id, weight: Math.exp((x - most) / temperature) })
  })
  return kept
}

const total = (candidates: ReadonlyArray<Candidate>): number =>
  candidates.reduce((sum, c) => sum + c.weight, 0)

/** The smallest set of likeliest tokens whose probability reaches p; never empty. */
const topP = (candidates: ReadonlyArray<Candidate>, p: number): ReadonlyArray<Candidate> => {
  if (p >= 1) return candidates
  const wanted = p * total(candidates)
  const ranked = candidates.toSorted((a, b) => b.weight - a.weight || a.id - b.id)
  let [sum, count] = [0, 0]
  while (count < ranked.length && (count === 0 || sum < wanted)) sum += ranked[count++]!.weight
  return ranked.slice(0, count)
}

/** The tokens that may be drawn, and their probabilities. */
export const distribution = (
  logits: Float32Array,
  s: Sampling,
): ReadonlyArray<{ readonly id: number; readonly probability: number }> => {
  const kept = topP(topK(logits, s.topK, s.temperature), s.topP)
  const sum = total(kept)
  return kept.map(({ id, weight }) => ({ id, probability: weight / sum }))
}

const draw = (logits: Float32Array, s: Sampling, at: Place): number => {
  const kept = distribution(logits, s)
  let left = uniform(s.seed, at)
  for (const { id, probability } of kept) {
    left -= probability
    if (left < 0) return id
  }
  // Probabilities rounded to a little less than 1.
  return kept.at(-1)!.id
}

/** An id for logits [vocab], none of the `banned`. Null: the logits hold no number to choose by. */
export const choose = (
  logits: Float32Array,
  s: Sampling,
  at: Place,
  banned: ReadonlyArray<number> = [],
): number | null => {
  const open = banned.length === 0 ? logits : logits.slice()
  for (const id of banned) open[id] = -Infinity
  const best = likeliest(open)
  if (best === null || !Number.isFinite(open[best])) return null
  return s.temperature === 0 ? best : draw(open, s, at)
}
