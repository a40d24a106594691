/** Which steps stand for a function: backwards from what it returns, a proposed step where there is one, else the op's own. */
import type { Context } from './context.ts'
import { derived } from './derived.ts'
import { plain } from './plain.ts'
import type { Proposal, Rule } from './rule.ts'
import type { Join, Key, Step } from './step.ts'

export interface Chosen {
  readonly steps: ReadonlyArray<Step>
  readonly joins: ReadonlyArray<Join>
}

interface Accepted {
  readonly makers: ReadonlyMap<Key, Step>
  readonly joins: ReadonlyArray<Join>
}

/** Proposals in order of the rules; one whose results or places are taken already is left out. */
const accept = (proposals: ReadonlyArray<Proposal>): Accepted => {
  const makers = new Map<Key, Step>()
  const joined = new Set<Key>()
  const joins: Join[] = []
  for (const p of proposals) {
    const results = p.steps.flatMap((s) => s.writes.map((w) => w.key))
    const members = p.joins.flatMap((j) => j.members.map((m) => m.key))
    if (results.some((k) => makers.has(k))) continue
    if (members.some((k) => joined.has(k)) && !p.steps.every((s) => s.optionalJoins === true))
      continue
    for (const s of p.steps) for (const w of s.writes) makers.set(w.key, s)
    for (const j of p.joins) {
      if (j.members.some((m) => joined.has(m.key))) continue
      joins.push(j)
      for (const m of j.members) joined.add(m.key)
    }
  }
  return { makers, joins }
}

/** Position of a step in the function: where the first of its results was made. */
const positionOf = (c: Context, s: Step): number =>
  s.writes.reduce(
    (m, w) => Math.min(m, typeof w.key === 'number' ? (c.maker(w.key)?.index ?? m) : m),
    s.covers.reduce((a, b) => Math.min(a, b), Infinity) === Infinity ? -1 : Infinity,
  )

const needed = (c: Context, makers: ReadonlyMap<Key, Step>): ReadonlySet<Step> => {
  const own = new Map<number, Step>()
  const found = new Set<Step>()
  const waiting: Key[] = [...c.fn.outs, ...c.fn.updates].map((o) => o.id)
  const seen = new Set<Key>()
  for (let key = waiting.pop(); key !== undefined; key = waiting.pop()) {
    if (seen.has(key)) continue
    seen.add(key)
    const site = typeof key === 'number' ? c.maker(key) : undefined
    let step = makers.get(key) ?? derived(c, key)
    if (step === undefined && site !== undefined) {
      step = own.get(site.index) ?? plain(c, site)
      own.set(site.index, step)
    }
    if (step === undefined || found.has(step)) continue
    found.add(step)
    waiting.push(...step.reads)
  }
  return found
}

/** Dependency order, and among free steps the order of the equations. */
const ordered = (c: Context, steps: ReadonlySet<Step>): ReadonlyArray<Step> => {
  const maker = new Map<Key, Step>()
  for (const s of steps) for (const w of s.writes) maker.set(w.key, s)
  const position = new Map([...steps].map((s) => [s, positionOf(c, s)]))
  const waits = new Map<Step, number>()
  const readers = new Map<Step, Step[]>()
  for (const s of steps) {
    const before = new Set(s.reads.flatMap((r) => maker.get(r) ?? []))
    before.delete(s)
    waits.set(s, before.size)
    for (const b of before) readers.set(b, [...(readers.get(b) ?? []), s])
  }
  const order: Step[] = []
  const free = heap<Step>((a, b) => position.get(a)! - position.get(b)!)
  for (const s of steps) if (waits.get(s) === 0) free.push(s)
  for (let s = free.pop(); s !== undefined; s = free.pop()) {
    order.push(s)
    for (const r of readers.get(s) ?? []) {
      waits.set(r, waits.get(r)! - 1)
      if (waits.get(r) === 0) free.push(r)
    }
  }
  // A bug of ours: two fused steps wait for each other.
  if (order.length !== steps.size) throw new Error(`fused steps of @${c.fn.name} form a circle`)
  return order
}

/** A binary heap, least first. */
const heap = <T>(compare: (a: T, b: T) => number) => {
  const list: T[] = []
  const swap = (i: number, j: number): void => {
    ;[list[i], list[j]] = [list[j]!, list[i]!]
  }
  return {
    push: (x: T): void => {
      list.push(x)
      for (let i = list.length - 1; i > 0;) {
        const up = (i - 1) >> 1
        if (compare(list[i]!, list[up]!) >= 0) break
        swap(i, up)
        i = up
      }
    },
    pop: (): T | undefined => {
      const top = list[0]
      const last = list.pop()
      if (list.length === 0 || last === undefined) return top
      list[0] = last
      for (let i = 0; ;) {
        const [l, r] = [2 * i + 1, 2 * i + 2]
        let least = i
        if (l < list.length && compare(list[l]!, list[least]!) < 0) least = l
        if (r < list.length && compare(list[r]!, list[least]!) < 0) least = r
        if (least === i) return top
        swap(i, least)
        i = least
      }
    },
  }
}

export const choose = (c: Context, rules: ReadonlyArray<Rule>): Chosen => {
  const { makers, joins } = accept(rules.flatMap((r) => r.propose(c)))
  const steps = ordered(c, needed(c, makers))
  const made = new Set<Key>(steps.flatMap((s) => s.writes.map((w) => w.key)))
  return {
    steps,
    // Side by side lies only what some step makes.
    joins: joins.filter((j) => j.members.every((m) => made.has(m.key))),
  }
}
