/** The rows of a batch while they are answered, and the grids that `prefill` and `decode` take of them. */
import type { Feeds } from '../../backends/backend.ts'
import type { Grid, Request } from './generate.ts'
import type { Options } from './options.ts'
import { endsWithStop } from './stops.ts'

/** A sequence on its way; `ids` and `stopped` change with every step. */
export interface Row {
  readonly prompt: ReadonlyArray<number>
  readonly sequence: number
  readonly cut: number
  /** Tokens it may get. */
  readonly limit: number
  readonly ids: Array<number>
  /** Of each id its log-probability, where it is asked for. */
  readonly logProbs: Array<number>
  stopped: Ending | null
}

/** Its own end, one of the texts that end an answer, or a limit. */
export type Ending = 'eos' | 'stop' | 'length'

/** What the grid has to know of a row. */
export interface Held {
  readonly prompt: ReadonlyArray<number>
  readonly ids: ReadonlyArray<number>
}

/** A row of the grid that no request fills: one token that never goes on. */
export const placeholder: Row = {
  prompt: [0],
  sequence: 0,
  cut: 0,
  limit: 0,
  ids: [],
  logProbs: [],
  stopped: 'length',
}

/** Tokens kept of a prompt that does not fit: room is left for the answer, but at most half of the cache. */
export const promptRoom = (g: Grid, maxNew: number): number =>
  Math.min(g.prompt, Math.max(g.capacity - maxNew, Math.ceil(g.capacity / 2)))

/** A prompt that fits stays whole, however little room that leaves; of a longer one BOS stays, and its last tokens. */
const keptOf = (prompt: ReadonlyArray<number>, g: Grid, o: Options): ReadonlyArray<number> => {
  if (prompt.length <= Math.min(g.prompt, g.capacity)) return prompt
  const room = promptRoom(g, o.maxNew)
  const begin = o.bosId !== null && prompt[0] === o.bosId && room > 1 ? [o.bosId] : []
  return [...begin, ...prompt.slice(prompt.length - room + begin.length)]
}

/** After a prompt that fills the cache there is still one token: it is never looked at again. */
export const cutOf = (
  { prompt }: Request,
  g: Grid,
  o: Options,
): Pick<Row, 'prompt' | 'cut' | 'limit'> => {
  const kept = keptOf(prompt, g, o)
  const limit = Math.min(o.maxNew, Math.max(1, g.capacity - kept.length))
  return { prompt: kept, cut: prompt.length - kept.length, limit }
}

export const openRow = (r: Request, g: Grid, o: Options): Row => {
  const is = cutOf(r, g, o)
  const stopped = is.limit === 0 ? 'length' : null
  return { ...is, sequence: r.sequence, ids: [], logProbs: [], stopped }
}

/** Adds an id, or ends the row. */
export const finish = (
  row: Row,
  id: number,
  o: Pick<Options, 'eosIds' | 'stops'>,
  logProb?: number,
): void => {
  if (o.eosIds.includes(id)) {
    row.stopped = 'eos'
    return
  }
  row.ids.push(id)
  if (logProb !== undefined) row.logProbs.push(logProb)
  if (endsWithStop([...row.prompt, ...row.ids], o)) row.stopped = 'stop'
  else if (row.ids.length === row.limit) row.stopped = 'length'
}

/** Prompts in [batch, prompt], padded on the right by a segment of their own. */
export const grid = (rows: ReadonlyArray<Held>, g: Grid): Feeds => {
  const size = rows.length * g.prompt
  const tokens = new Int32Array(size)
  const segments = new Int32Array(size)
  rows.forEach(({ prompt }, r) => {
    tokens.set(prompt, r * g.prompt)
    segments.fill(1, r * g.prompt, r * g.prompt + prompt.length)
  })
  return {
    tokens,
    segments,
    // Padding writes into places of the cache that an answer overwrites before it looks at them.
    positions: Int32Array.from({ length: size }, (_, i) => i % g.prompt),
    last: Int32Array.from(rows, ({ prompt }, r) => r * g.prompt + prompt.length - 1),
  }
}

/** Each row's newest token at its place, which is always one of the cache's: what a row that has ended writes there, nobody reads. */
export const stepGrid = (rows: ReadonlyArray<Held>, g: Grid): Feeds => {
  const newest = (r: Held): number => r.ids.at(-1) ?? r.prompt.at(-1)!
  return {
    tokens: Int32Array.from(rows, newest),
    positions: Int32Array.from(
      rows,
      (r) => Math.min(r.prompt.length + r.ids.length, g.capacity) - 1,
    ),
  }
}
