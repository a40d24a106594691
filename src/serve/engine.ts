/** Sequences answered side by side: each joins when a slot is free and leaves when it has ended, whatever the others do. */
import * as E from 'fp-ts/lib/Either.js'
import type { Feeds, Session, Values } from '../../backends/backend.ts'
import type { Grid } from '../generate/generate.ts'
import { constrained, isFree, unconstrained, type Constraints } from '../generate/constraints.ts'
import { choose } from '../generate/sample.ts'
import { issue, type Issue } from '../issue.ts'
import { prefillName } from '../models/llama.ts'
import { call } from '../train/problem.ts'
import { decodeFeeds, lengthOf, prefillFeeds, widthFor, type Running } from './slots.ts'
import type { Ended, Work } from './work.ts'

/** Nothing more is taken: too many wait, the engine is closing, or so many at once can never wait. */
export type Busy = 'full' | 'closing' | 'beyond'

export interface Engine {
  readonly grid: Grid
  /** Takes all of them or none. Right: stops them. */
  readonly submit: (works: ReadonlyArray<Work>) => E.Either<Busy, () => void>
  readonly counts: () => { readonly running: number; readonly waiting: number }
  /** Takes nothing more; done when all that was taken has ended. */
  readonly close: () => Promise<void>
}

/** Lets sockets, signals and timers have their turn: a backend may compute without ever waiting. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const unscored = (): Issue =>
  issue('the model gives no finite score to any token, so none can be chosen', {
    hint: 'its weights overflowed in training (lower trainer.learning_rate), or compute_dtype is too narrow for it',
  })

const bannedOf = ({ work, ids }: Running): ReadonlyArray<number> =>
  ids.length < work.minNew ? work.eosIds : []

const plain = ({ work: { adjust: a } }: Running): boolean =>
  a.bias.size === 0 && a.presence === 0 && a.frequency === 0

/** Whether a slot's token can be the device's own choice: an id comes back, not a vocabulary of scores. */
const greedy = (r: Running): boolean =>
  r.work.sampling.temperature === 0 &&
  !r.work.wantsScores &&
  plain(r) &&
  isFree(constraintsOf(r)) &&
  bannedOf(r).length === 0

const adjusted = (scores: Float32Array, r: Running): Float32Array => {
  if (plain(r)) return scores
  const { bias, presence, frequency } = r.work.adjust
  const changed = scores.slice()
  for (const [id, by] of bias) changed[id]! += by
  for (const id of new Set(r.ids)) changed[id]! -= presence
  for (const id of r.ids) changed[id]! -= frequency
  return changed
}

const constraintsOf = ({ work }: Running): Constraints => work.constraints ?? unconstrained

const allowed = (scores: Float32Array, r: Running): Float32Array =>
  constrained(adjusted(scores, r), [...r.work.prompt, ...r.ids], constraintsOf(r), bannedOf(r))

interface Chosen {
  readonly id: number | null
  readonly scores: Float32Array | null
}

/** What a sequence has got is enough, or there is no place for more; null: it goes on. */
const endOf = (r: Running, id: number, g: Grid, enough: boolean): Ended | null => {
  if (r.work.eosIds.includes(id)) return { _tag: 'eos' }
  if (enough) return { _tag: 'stop' }
  const full = r.ids.length >= r.work.limit || lengthOf(r) >= g.capacity
  return full ? { _tag: 'length' } : null
}

export const openEngine = (session: Session, g: Grid, most: number): Engine => {
  const slots: Array<Running | null> = Array.from({ length: g.batch }, () => null)
  const waiting: Array<Running> = []
  let [closing, driving] = [false, false]
  let idle: Array<() => void> = []

  const leave = (s: number, why: Ended): void => {
    const r = slots[s]!
    slots[s] = null
    r.work.end(why)
  }

  const chosen = (s: number, r: Running, wanted: 'next' | 'logits', values: Values): Chosen => {
    if (wanted === 'next') return { id: values[s]! < 0 ? null : values[s]!, scores: null }
    const vocab = values.length / g.batch
    const scores = (values as Float32Array).subarray(s * vocab, (s + 1) * vocab)
    const place = { sequence: r.work.sequence, position: lengthOf(r) }
    return { id: choose(allowed(scores, r), r.work.sampling, place), scores }
  }

  const advance = (s: number, r: Running, { id, scores }: Chosen): void => {
    if (r.cancelled) return leave(s, { _tag: 'cancelled' })
    if (id === null) return leave(s, { _tag: 'failed', issue: unscored() })
    const eos = r.work.eosIds.includes(id)
    if (!eos) r.ids.push(id)
    const end = endOf(r, id, g, !eos && r.work.take(id, scores))
    if (end !== null) leave(s, end)
  }

  /** Runs a function and gives the slots it was for their tokens. */
  const step = async (fn: string, feeds: Feeds, whose: (r: Running) => boolean): Promise<void> => {
    const wanted = slots.every((r) => r === null || !whose(r) || greedy(r)) ? 'next' : 'logits'
    const ran = await call(session.run(fn, feeds, [wanted]))()
    slots.forEach((r, s) => {
      if (r === null || !whose(r)) return
      if (E.isLeft(ran)) leave(s, { _tag: 'failed', issue: ran.left })
      else advance(s, r, chosen(s, r, wanted, ran.right[wanted]!))
    })
  }

  /** Gives free slots to those who wait, the longest first. */
  const admit = (): ReadonlySet<Running> => {
    const fresh = new Set<Running>()
    slots.forEach((r, s) => {
      const next = r === null ? waiting.shift() : undefined
      if (next === undefined) return
      slots[s] = next
      fresh.add(next)
    })
    return fresh
  }

  const busy = (): boolean => waiting.length > 0 || slots.some((r) => r !== null)

  const drive = async (): Promise<void> => {
    driving = true
    // Whoever came in the same turn shares the first batch.
    await breathe()
    while (busy()) {
      const fresh = admit()
      if (fresh.size > 0)
        await step(prefillName(g, widthFor(fresh, g)), prefillFeeds(slots, fresh, g), (r) =>
          fresh.has(r),
        )
      else await step('decode', decodeFeeds(slots), () => true)
      await breathe()
    }
    driving = false
    for (const done of idle) done()
    idle = []
  }

  const cancel = (rs: ReadonlyArray<Running>) => (): void => {
    for (const r of rs) {
      r.cancelled = true
      const at = waiting.indexOf(r)
      if (at < 0) continue
      waiting.splice(at, 1)
      r.work.end({ _tag: 'cancelled' })
    }
  }

  return {
    grid: g,
    submit: (works) => {
      if (closing) return E.left('closing')
      if (works.length > most + g.batch) return E.left('beyond')
      const free = slots.filter((r) => r === null).length
      if (waiting.length + works.length > most + free) return E.left('full')
      const rs = works.map((work) => ({ work, ids: [], cancelled: false }))
      waiting.push(...rs)
      if (!driving) void drive()
      return E.right(cancel(rs))
    },
    counts: () => ({
      running: slots.filter((r) => r !== null).length,
      waiting: waiting.length,
    }),
    close: async () => {
      closing = true
      if (driving) await new Promise<void>((resolve) => idle.push(resolve))
    },
  }
}
