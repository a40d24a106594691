/** Equal equations once, dead ones never, and algebra that changes no bit. */
import { building } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { showAttrs } from '../ir/print.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'

/** Drops equations whose results nobody uses. */
export const dropDead = (f: Fn): Fn => {
  const live = new Set<Id>([...f.outs.map((o) => o.id), ...f.updates.map((u) => u.id)])
  const kept: Eqn[] = []
  for (const e of f.eqns.toReversed()) {
    if (!e.outs.some((o) => live.has(o))) continue
    for (const a of e.args) live.add(a)
    kept.push(e)
  }
  return { ...f, eqns: kept.toReversed(), reads: f.reads.filter((r) => live.has(r.id)) }
}

/** Drops inputs nobody reads (the learning rate in a micro-step) along with dead equations. */
export const pruned = (f: Fn): Fn => {
  const g = dropDead(f)
  const used = new Set([
    ...g.eqns.flatMap((e) => e.args),
    ...g.outs.map((o) => o.id),
    ...g.updates.map((u) => u.id),
  ])
  return { ...g, inputs: g.inputs.filter((i) => used.has(i.id)) }
}

/** A value of the type already is the value; widening is exact, so narrowing back to where a value came from gives it too. */
const castBack = (
  e: Eqn,
  made: ReadonlyMap<Id, Eqn>,
  args: ReadonlyArray<Id>,
  typeOf: (id: Id) => { dtype: string },
): Id | null => {
  if (e.op !== 'cast') return null
  if (typeOf(args[0]!).dtype === e.attrs['to']) return args[0]!
  const inner = made.get(args[0]!)
  if (inner?.op !== 'cast' || inner.attrs['to'] !== 'f32') return null
  return typeOf(inner.args[0]!).dtype === e.attrs['to'] ? inner.args[0]! : null
}

const merge = (): Rule => {
  const seen = new Map<string, ReadonlyArray<Id>>()
  const made = new Map<Id, Eqn>()
  return ({ eqn, args, b }) => {
    const back = castBack(eqn, made, args, b.typeOf)
    if (back !== null) return [back]
    if (eqn.op === 'scale' && eqn.attrs['by'] === 1) return [args[0]!]
    // Within one stage only: sharing across stages would keep a value alive that was meant to be made again.
    const key = `${eqn.place.stage} ${eqn.op} ${args.join()} ${showAttrs(eqn.attrs)}`
    const known = seen.get(key)
    if (known !== undefined) return known
    const outs = copy(b, eqn, args)
    seen.set(key, outs)
    for (const o of outs) made.set(o, { ...eqn, outs, args })
    return outs
  }
}

export const simplify: Pass = {
  name: 'simplify',
  keeps: 'exact',
  run: (p) => {
    const states = stateOf(p)
    return building((): Program => ({
      ...p,
      fns: p.fns.map((f) => dropDead(rebuild(dropDead(f), states, merge()))),
    }))
  },
}
