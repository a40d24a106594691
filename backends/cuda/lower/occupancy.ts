/** What lies in the arena while a function runs: every temporary of its steps, with the steps during which it is needed. */
import type { Fn, Id, Program } from '../../../ir/graph.ts'
import { bytes } from '../../../ir/type.ts'
import { choose } from './choose.ts'
import { contextOf, type Span, type Target } from './context.ts'
import { isKept } from './kept.ts'
import type { Rule } from './rule.ts'
import { rules as allRules } from './rules/index.ts'
import type { Key } from './step.ts'

export interface Occupant {
  /** The value of the function; none for what only the device program has. */
  readonly ids: ReadonlyArray<Id>
  readonly bytes: number
  /** Whether it is a decoded weight that stays until the backward. */
  readonly kept?: boolean
  /** Indices of steps. */
  readonly from: number
  readonly to: number
}

export interface Occupancy {
  readonly list: ReadonlyArray<Occupant>
  readonly steps: number
  /** Equation that a step begins with. */
  readonly equationOf: (step: number) => number | undefined
}

/** A result that may lie over an operand that dies is counted from the next step on: until then it is the operand's place. */
export const occupancyOf = (
  p: Program,
  f: Fn,
  target: Target,
  masters: Span,
  rules: ReadonlyArray<Rule> = allRules,
): Occupancy => {
  const { steps } = choose(contextOf(p, f, target, masters), rules)
  const last = new Map<Key, number>()
  steps.forEach((s, i) => s.reads.forEach((r) => last.set(r, i)))
  for (const o of [...f.outs, ...f.updates]) last.set(o.id, steps.length)
  const updated = new Set<Key>(f.updates.map((u) => u.id))
  const list: Occupant[] = f.inputs.map((x) => ({
    ids: [x.id],
    bytes: bytes(x.type),
    from: 0,
    to: last.get(x.id) ?? 0,
  }))
  const temporary = new Set<Key>()
  steps.forEach((s, i) => {
    const taken = new Set<Key>()
    for (const w of s.writes) {
      // An update lies where its state lies, or is copied there.
      if (updated.has(w.key)) continue
      temporary.add(w.key)
      const to = last.get(w.key) ?? i
      const victim = s.over.find(
        ([made, old]) =>
          made === w.key && temporary.has(old) && !taken.has(old) && last.get(old) === i,
      )?.[1]
      if (victim !== undefined) taken.add(victim)
      const from = victim === undefined ? i : i + 1
      if (from <= to)
        list.push({
          ids: typeof w.key === 'number' ? [w.key] : [],
          bytes: bytes(w.type),
          kept: isKept(w.key),
          from,
          to,
        })
    }
    for (const n of s.scratch) list.push({ ids: [], bytes: n, from: i, to: i })
  })
  return {
    list,
    steps: steps.length,
    equationOf: (step) => {
      const covers = steps[Math.min(step, steps.length - 1)]?.covers ?? []
      return covers.length === 0 ? undefined : Math.min(...covers)
    },
  }
}
