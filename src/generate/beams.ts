/** Beam search over one prompt as transformers 5 defines it, in 32-bit scores; drawn beams take continuations without replacement. */
import type { Issue } from '../issue.ts'
import type { Grid, Request } from './generate.ts'
import { broken } from './broken.ts'
import { constrained, unconstrained } from './constraints.ts'
import type { Beams, Options } from './options.ts'
import { cutOf, type Ending } from './rows.ts'
import { gumbels, logProbs, warped } from './sample.ts'
import { endsWithStop } from './stops.ts'

/** A sequence on its way, or at its end. */
export interface Beam {
  readonly ids: ReadonlyArray<number>
  /** Sum of the scores of its tokens; of an ended one divided by its length to the power of the penalty. */
  readonly score: number
  /** Of each id by the model itself. */
  readonly logProbs: ReadonlyArray<number>
}

/** The search for one answer; its fields change with every step. */
export interface Search {
  readonly prompt: ReadonlyArray<number>
  readonly sequence: number
  readonly cut: number
  /** Tokens an answer may have. */
  readonly limit: number
  /** Best first, as many as there are rows for them. */
  running: ReadonlyArray<Beam>
  /** Best first. */
  ended: ReadonlyArray<Beam>
  open: boolean
}

/** Stands in for minus infinity, which 32-bit sums survive. */
const NEVER = -1e9
const f32 = Math.fround

/** All beams begin alike, so all but the first are held back once. */
export const openSearch = (r: Request, g: Grid, o: Options, width: number): Search => {
  const { prompt, cut, limit } = cutOf(r, g, o)
  const beam = (score: number): Beam => ({ ids: [], score, logProbs: [] })
  return {
    prompt,
    sequence: r.sequence,
    cut,
    limit,
    running: Array.from({ length: width }, (_, b) => beam(b === 0 ? 0 : NEVER)),
    ended: [],
    open: limit > 0,
  }
}

interface Candidate {
  readonly parent: number
  readonly id: number
  readonly score: number
  /** What it is chosen by: the score, and where it is drawn a random number added to it. */
  readonly key: number
  readonly logProb: number
}

/** The `count` best by key, best first; of equals the earlier. */
const best = (count: number) => {
  const top: Candidate[] = []
  return {
    top,
    offer: (key: number, make: () => Candidate): void => {
      if (top.length === count && key <= top[count - 1]!.key) return
      let at = top.length
      while (at > 0 && top[at - 1]!.key < key) at--
      top.splice(at, 0, make())
      if (top.length > count) top.pop()
    },
  }
}

/** Continuations of all beams, best first: enough to go on with all of them even where every end is among the best. */
const continuations = (
  s: Search,
  logitsOf: (beam: number) => Float32Array,
  o: Options,
  banned: ReadonlyArray<number>,
): ReadonlyArray<Candidate> | null => {
  const width = s.running.length
  const { top, offer } = best(Math.max(2, 1 + o.eosIds.length) * width)
  const at = { sequence: s.sequence, position: s.prompt.length + s.running[0]!.ids.length + s.cut }
  const noise = o.sampling.temperature === 0 ? null : gumbels(o.sampling.seed, at)
  for (const [parent, beam] of s.running.entries()) {
    const plain = logProbs(logitsOf(parent))
    if (plain === null) return null
    const scores = constrained(
      plain,
      [...s.prompt, ...beam.ids],
      o.constraints ?? unconstrained,
      banned,
    )
    const { ids, values } = warped(scores, o.sampling, o.eosIds.length + 1)
    for (let i = 0; i < ids.length; i++) {
      const [id, score] = [ids[i]!, f32(f32(values[i]!) + beam.score)]
      const key = noise === null ? score : score + noise()
      offer(key, () => ({ parent, id, score, key, logProb: plain[id]! }))
    }
  }
  return noise === null ? top : top.toSorted((a, b) => b.score - a.score)
}

const extended = ({ running }: Search, c: Candidate, score: number): Beam => {
  const { ids, logProbs: known } = running[c.parent]!
  return { ids: [...ids, c.id], score, logProbs: [...known, c.logProb] }
}

const byScore = (a: { readonly score: number }, b: { readonly score: number }): number =>
  b.score - a.score

/** What an open beam may still reach against the worst of those that have ended. */
const improvable = (s: Search, length: number, { lengthPenalty, early }: Beams): boolean => {
  if (s.ended.length < s.running.length) return true
  const counted = early === 'never' && lengthPenalty > 0 ? s.limit : length
  return f32(s.running[0]!.score / counted ** lengthPenalty) > s.ended.at(-1)!.score
}

/** One more token for every beam: what they were before, by row, or why none can be chosen. */
export const advanceSearch = (
  s: Search,
  logitsOf: (beam: number) => Float32Array,
  o: Options,
  b: Beams,
): ReadonlyArray<number> | Issue => {
  const width = s.running.length
  const length = s.running[0]!.ids.length + 1
  const found = continuations(s, logitsOf, o, length <= o.minNew ? o.eosIds : [])
  if (found === null || found.length < width || !Number.isFinite(found[0]!.score)) return broken
  const ends = found.map(
    (c) =>
      o.eosIds.includes(c.id) ||
      length === s.limit ||
      endsWithStop([...s.prompt, ...s.running[c.parent]!.ids, c.id], o),
  )
  const full = s.ended.length === width
  const closed = full && b.early === true
  const before = s.running
  const ended = found
    .slice(0, width)
    .flatMap((c, i) =>
      ends[i] === true && !closed ? [extended(s, c, f32(c.score / length ** b.lengthPenalty))] : [],
    )
  const next = found
    .map((c, i) => ({ c, score: ends[i] === true ? f32(c.score + NEVER) : c.score }))
    .toSorted(byScore)
    .slice(0, width)
  s.ended = [...s.ended, ...ended].toSorted(byScore).slice(0, width)
  s.running = next.map(({ c, score }) => extended({ ...s, running: before }, c, score))
  const stops = s.ended.length === width && b.early === true
  s.open = improvable(s, length, b) && !stops && ends.some((e) => !e)
  return next.map(({ c }) => c.parent)
}

/** The best answer, without the id that ended it, and how it ended. */
export const found = (s: Search, o: Options): Beam & { readonly stopped: Ending } => {
  const beam = s.ended[0] ?? { ids: [], score: 0, logProbs: [] }
  const last = beam.ids.at(-1)
  if (last !== undefined && o.eosIds.includes(last))
    return {
      ...beam,
      ids: beam.ids.slice(0, -1),
      logProbs: beam.logProbs.slice(0, -1),
      stopped: 'eos',
    }
  const stopped = endsWithStop([...s.prompt, ...beam.ids], o) ? 'stop' : 'length'
  return { ...beam, stopped }
}
