/** Fixes the order of equations and gives every value its place in one arena. */
import * as E from 'fp-ts/lib/Either.js'
import type { Eqn, Fn, Id, Program, State } from '../ir/graph.ts'
import { bytes } from '../ir/type.ts'
import { aligned, layOut, peakOf, stateBytes } from './memory.ts'
import type { Pass } from './pass.ts'

/** Equations with no operands that are computed (decoding, fills) move down to just before their first use. */
const sink = (f: Fn): Fn => {
  const made = new Set(f.eqns.flatMap((e) => e.outs))
  const movable = (e: Eqn): boolean => e.args.every((a) => !made.has(a))
  const waiting = new Map<Id, Eqn>()
  const eqns: Eqn[] = []
  const settle = (id: Id): void => {
    const e = waiting.get(id)
    if (e === undefined) return
    for (const o of e.outs) waiting.delete(o)
    eqns.push(e)
  }
  for (const e of f.eqns) {
    if (movable(e)) for (const o of e.outs) waiting.set(o, e)
    else {
      e.args.forEach(settle)
      eqns.push(e)
    }
  }
  for (const o of [...f.outs, ...f.updates]) settle(o.id)
  return { ...f, eqns }
}

/** The new order, unless it needs more memory than the old one. */
const ordered = (p: Program, f: Fn): Fn => {
  const moved = sink(f)
  return peakOf(p, moved) <= peakOf(p, f) ? moved : f
}

const placeState = (p: Program): ReadonlyArray<State> => {
  let offset = 0
  return p.state.map((s) => {
    const placed = { ...s, offset }
    offset += aligned(bytes(s.type))
    return placed
  })
}

/** Bytes of the arena of a scheduled program: all state, and the temporaries of its hungriest function. */
export const arenaBytes = (p: Program): number =>
  p.fns.reduce((most, f) => Math.max(most, layOut(p, f, stateBytes(p)).end), stateBytes(p))

export const schedule: Pass = {
  name: 'schedule',
  keeps: 'exact',
  run: (p) => {
    const state = placeState(p)
    const base = stateBytes(p)
    const q = { ...p, state }
    return E.right({
      ...q,
      fns: p.fns.map((f) => {
        const g = ordered(q, f)
        return { ...g, offsets: layOut(q, g, base).offsets }
      }),
    })
  },
}
