/** The slots of a served model, each a row of the grid with a part of every cache, and what a step gives the model of them. */
import type { Feeds } from '../../backends/backend.ts'
import type { Grid } from '../generate/generate.ts'
import type { Work } from './work.ts'

/** A sequence in its slot; `ids` grows with every step. */
export interface Running {
  readonly work: Work
  readonly ids: Array<number>
  cancelled: boolean
}

/** Null: free. */
export type Slots = ReadonlyArray<Running | null>

/** Tokens so far: the place of the next one. */
export const lengthOf = ({ work, ids }: Running): number => work.prompt.length + ids.length

/** Tokens of the shortest prefill that holds the prompts of the new sequences. */
export const widthFor = (fresh: ReadonlySet<Running>, g: Grid): number => {
  const longest = [...fresh].reduce((m, r) => Math.max(m, r.work.prompt.length), 1)
  return (g.shorter ?? []).find((n) => n >= longest) ?? g.prompt
}

/**
 * The prompts of the new sequences at their slots. The other slots hold a token whose place lies outside the cache, where
 * nothing is written: who runs there goes on as if nothing had happened.
 */
export const prefillFeeds = (
  slots: Slots,
  fresh: ReadonlySet<Running>,
  g: Grid,
  width = widthFor(fresh, g),
): Feeds => {
  const size = g.batch * width
  const [tokens, segments] = [new Int32Array(size), new Int32Array(size)]
  const positions = new Int32Array(size).fill(g.capacity)
  const last = Int32Array.from({ length: g.batch }, (_, s) => s * width)
  slots.forEach((running, s) => {
    const at = s * width
    segments[at] = 1
    if (running === null || !fresh.has(running)) return
    const { prompt } = running.work
    tokens.set(prompt, at)
    segments.fill(1, at, at + prompt.length)
    prompt.forEach((_, i) => (positions[at + i] = i))
    last[s] = at + prompt.length - 1
  })
  return { tokens, segments, positions, last }
}

/** Each sequence's newest token at its place; a free slot writes where its next prompt will. */
export const decodeFeeds = (slots: Slots): Feeds => ({
  tokens: Int32Array.from(slots, (r) => r?.ids.at(-1) ?? 0),
  positions: Int32Array.from(slots, (r) => (r === null ? 0 : lengthOf(r) - 1)),
})
