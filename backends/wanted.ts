/** What a run is asked for: some of a function's outputs, and the equations that they and the new state need. */
import type { Eqn, Fn, Id } from '../ir/graph.ts'

interface Named {
  readonly name: string
}

/** The outputs of these names, all where none are named. A text: one that there is not. */
export const chosenOuts = <T extends Named>(
  f: Named & { readonly outs: ReadonlyArray<T> },
  wanted: ReadonlyArray<string> | undefined,
): ReadonlyArray<T> | string => {
  if (wanted === undefined) return f.outs
  const odd = wanted.find((name) => f.outs.every((o) => o.name !== name))
  return odd === undefined
    ? f.outs.filter((o) => wanted.includes(o.name))
    : `@${f.name} has no output ${odd}, only ${f.outs.map((o) => o.name).join(', ')}`
}

export interface Wanted {
  readonly outs: Fn['outs']
  readonly eqns: ReadonlyArray<Eqn>
}

export const wantedOf = (f: Fn, wanted: ReadonlyArray<string> | undefined): Wanted | string => {
  const outs = chosenOuts(f, wanted)
  if (typeof outs === 'string') return outs
  if (outs.length === f.outs.length) return { outs, eqns: f.eqns }
  const needed = new Set<Id>([...outs, ...f.updates].map((o) => o.id))
  const kept = f.eqns.toReversed().filter((e) => {
    const own = e.outs.some((o) => needed.has(o))
    if (own) for (const a of e.args) needed.add(a)
    return own
  })
  return { outs, eqns: kept.toReversed() }
}
