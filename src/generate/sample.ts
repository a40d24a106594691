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
  let [best, top] = [0, -Infinity]
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!
    if (x > top) {
      top = x
      best = i
    } else if (Number.isNaN(x)) return null
  }
  return best
}

/** ln of the sum of exponentials. */
const logSum = (logits: Float32Array): number => {
  let [most, sum] = [-Infinity, 0]
  for (let i = 0; i < logits.length; i++) if (logits[i]! > most) most = logits[i]!
  for (let i = 0; i < logits.length; i++) sum += Math.exp(logits[i]! - most)
  return most + Math.log(sum)
}

/** ln of the probability that the logits give an id. */
export const logProb = (logits: Float32Array, id: number): number => logits[id]! - logSum(logits)

/** ln of every id's probability; null when there is none. */
export const logProbs = (logits: Float32Array): Float32Array | null => {
  const all = logSum(logits)
  return Number.isFinite(all) ? logits.map((x) => x - all) : null
}

/** The k-th largest of the logits, in one pass with the k largest so far in ascending order. */
const kthLargest = (logits: Float32Array, k: number): number => {
  const top = new Float32Array(k).fill(-Infinity)
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!
    if (x <= top[0]!) continue
    let at = 0
    for (; at + 1 < k && top[at + 1]! < x; at++) top[at] = top[at + 1]!
    top[at] = x
  }
  return top[0]!
}

/** Tokens that may be drawn, side by side: a vocabulary of objects would cost more than the model's step. */
interface Kept {
  readonly ids: Int32Array
  /** Not normalised. */
  readonly weights: Float64Array
}

/** All tokens no less likely than the k-th, `most` being the largest logit: equals of the last are kept. */
const topK = (logits: Float32Array, k: number, temperature: number, most: number): Kept => {
  const least = k > 0 && k < logits.length ? kthLargest(logits, k) : -Infinity
  const kept = (x: number): boolean => x >= least && x > -Infinity
  let size = 0
  for (let id = 0; id < logits.length; id++) if (kept(logits[id]!)) size++
  const [ids, weights] = [new Int32Array(size), new Float64Array(size)]
  for (let id = 0, at = 0; at < size; id++) {
    if (!kept(logits[id]!)) continue
    ids[at] = id
    weights[at++] = Math.exp((logits[id]! - most) / temperature)
  }
  return { ids, weights }
}

const total = (weights: Float64Array): number => {
  let sum = 0
  for (let i = 0; i < weights.length; i++) sum += weights[i]!
  return sum
}

/** Moves the entry at `i` of a heap of places, likeliest first and of equals the lowest, down to where it belongs. */
const sink = (heap: Int32Array, size: number, i: number, weights: Float64Array): void => {
  const before = (a: number, b: number): boolean =>
    weights[a]! > weights[b]! || (weights[a] === weights[b] && a < b)
  const entry = heap[i]!
  for (let at = i; ;) {
    let child = 2 * at + 1
    if (child + 1 < size && before(heap[child + 1]!, heap[child]!)) child++
    if (child >= size || before(entry, heap[child]!)) {
      heap[at] = entry
      return
    }
    heap[at] = heap[child]!
    at = child
  }
}

/** The smallest set of likeliest tokens whose probability reaches p; never empty. Only what is taken is put in order. */
const topP = ({ ids, weights }: Kept, p: number, fewest = 1): Kept => {
  if (p >= 1) return { ids, weights }
  const wanted = p * total(weights)
  let size = ids.length
  const heap = Int32Array.from({ length: size }, (_, i) => i)
  for (let i = (size >> 1) - 1; i >= 0; i--) sink(heap, size, i, weights)
  const taken = new Int32Array(size)
  let [sum, count] = [0, 0]
  while (size > 0 && (count < fewest || sum < wanted)) {
    const best = heap[0]!
    sum += weights[best]!
    taken[count++] = best
    heap[0] = heap[--size]!
    if (size > 0) sink(heap, size, 0, weights)
  }
  const chosen = taken.subarray(0, count)
  return { ids: chosen.map((i) => ids[i]!), weights: Float64Array.from(chosen, (i) => weights[i]!) }
}

const keptOf = (logits: Float32Array, s: Sampling, most: number): Kept =>
  topP(topK(logits, s.topK, s.temperature, most), s.topP)

/** The ids that a beam may go on with and their scores, where beams are drawn after temperature, top-k and top-p; at least `fewest`. */
export const warped = (
  scores: Float32Array,
  s: Sampling,
  fewest: number,
): { readonly ids: Int32Array; readonly values: Float32Array } => {
  const t = s.temperature === 0 ? 1 : s.temperature
  const limits = s.temperature === 0 ? { k: 0, p: 1 } : { k: s.topK, p: s.topP }
  const most = scores[likeliest(scores) ?? 0]!
  const k = limits.k === 0 ? 0 : Math.max(limits.k, fewest)
  const { ids } = topP(topK(scores, k, t, most), limits.p, fewest)
  return { ids, values: Float32Array.from(ids, (id) => scores[id]! / t) }
}

/** Tells the draws of beams from those of tokens. */
const BEAMS = 5

/** Numbers that, added to logarithms of probabilities, make the largest of them a draw, and the k largest one without replacement (Gumbel). */
export const gumbels = (seed: number, { sequence, position }: Place): (() => number) => {
  const { next } = random(seed, BEAMS, sequence, position)
  return () => -Math.log(-Math.log((next() + 0.5) / 2 ** 32))
}

/** The tokens that may be drawn, and their probabilities. */
export const distribution = (
  logits: Float32Array,
  s: Sampling,
): ReadonlyArray<{ readonly id: number; readonly probability: number }> => {
  const { ids, weights } = keptOf(logits, s, logits[likeliest(logits)!]!)
  const sum = total(weights)
  return Array.from(ids, (id, i) => ({ id, probability: weights[i]! / sum }))
}

const draw = (logits: Float32Array, s: Sampling, at: Place, most: number): number => {
  const { ids, weights } = keptOf(logits, s, most)
  const sum = total(weights)
  let left = uniform(s.seed, at)
  for (let i = 0; i < ids.length; i++) {
    left -= weights[i]! / sum
    if (left < 0) return ids[i]!
  }
  // Probabilities rounded to a little less than 1.
  return ids.at(-1)!
}

/** An id for logits [vocab]. Null: the logits hold no number to choose by. */
export const choose = (logits: Float32Array, s: Sampling, at: Place): number | null => {
  const best = likeliest(logits)
  if (best === null || !Number.isFinite(logits[best])) return null
  return s.temperature === 0 ? best : draw(logits, s, at, logits[best]!)
}
