/** The one traversal: a pass gives a rule for equations, the driver rebuilds every function with it. */
import type * as E from 'fp-ts/lib/Either.js'
import { building, builder, type Builder } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import type { Reason } from '../ir/reason.ts'

/** An equation about to be rebuilt; `args` are ids in the new function. */
export interface Site {
  readonly fn: Fn
  readonly eqn: Eqn
  readonly args: ReadonlyArray<Id>
  readonly b: Builder
  /** The state tensor (as it will be) that an argument reads, directly or decoded. */
  readonly state: (arg: number) => State | undefined
}

/** New results for an equation, or null to rebuild it as it was. */
export type Rule = (site: Site) => ReadonlyArray<Id> | null

const keep: Rule = () => null

/** Rebuilds an equation with other arguments; its types are inferred anew. */
export const copy = (b: Builder, e: Eqn, args: ReadonlyArray<Id>): ReadonlyArray<Id> =>
  b.emit(e.op, e.attrs, ...args)

export interface Extra {
  readonly outs?: Fn['outs']
  readonly updates?: Fn['updates']
  readonly minimizes?: string
}

/** The state tensor that a value is, decoded or as stored. */
const stateNames = (f: Fn): ReadonlyMap<Id, string> => {
  const names = new Map(f.reads.map((r) => [r.id, r.state]))
  for (const e of f.eqns) {
    const name = names.get(e.args[0] ?? -1)
    if (e.op === 'dequantize' && name !== undefined) names.set(e.outs[0]!, name)
  }
  return names
}

/** Rebuilds one function; `after` may add equations once all others stand, and change what is returned. */
export const rebuild = (
  f: Fn,
  states: ReadonlyMap<string, State>,
  rule: Rule,
  after: (b: Builder, now: (old: Id) => Id) => Extra = () => ({}),
): Fn => {
  const b = builder()
  const env = new Map<Id, Id>(f.inputs.map((i) => [i.id, b.input(i.name, i.type)]))
  const readOf = new Map(f.reads.map((r) => [r.id, r.state]))
  const nameOf = stateNames(f)
  const now = (old: Id): Id => {
    const known = env.get(old)
    if (known !== undefined) return known
    const made = b.read(states.get(readOf.get(old)!)!)
    env.set(old, made)
    return made
  }
  for (const eqn of f.eqns) {
    const args = eqn.args.map(now)
    const state = (arg: number) => states.get(nameOf.get(eqn.args[arg]!) ?? '')
    const outs = b.at(eqn.place, () => rule({ fn: f, eqn, args, b, state }) ?? copy(b, eqn, args))
    eqn.outs.forEach((o, i) => env.set(o, outs[i]!))
  }
  const outs = f.outs.map((o) => ({ ...o, id: now(o.id) }))
  const updates = f.updates.map((u) => ({ ...u, id: now(u.id) }))
  const extra = after(b, now)
  const goal = extra.minimizes ?? f.minimizes
  return b.done({
    name: f.name,
    outs: extra.outs ?? outs,
    updates: extra.updates ?? updates,
    ...(goal === undefined ? {} : { minimizes: goal }),
  })
}

/** Rebuilds every function of a program over new state. */
export const rewrite = (
  p: Program,
  state: ReadonlyArray<State>,
  rule: Rule = keep,
): E.Either<Reason, Program> => {
  const states = stateOf({ ...p, state })
  return building(() => ({ ...p, state, fns: p.fns.map((f) => rebuild(f, states, rule)) }))
}

/** How each function uses a state tensor: the equations that read it, directly or decoded, and at which argument. */
export const usesOf = (
  p: Program,
): ReadonlyMap<string, ReadonlyArray<{ readonly eqn: Eqn; readonly arg: number }>> => {
  const uses = new Map<string, Array<{ eqn: Eqn; arg: number }>>()
  for (const f of p.fns) {
    const names = stateNames(f)
    for (const eqn of f.eqns.filter((e) => e.op !== 'dequantize'))
      eqn.args.forEach((a, arg) => {
        const name = names.get(a)
        if (name === undefined) return
        const known = uses.get(name) ?? []
        known.push({ eqn, arg })
        uses.set(name, known)
      })
  }
  return uses
}
