/** One step becomes many micro-steps that add gradients into buffers, and one update that uses and clears them. */
import * as E from 'fp-ts/lib/Either.js'
import { builder, building } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf, typesOf } from '../ir/graph.ts'
import { broken, type Reason } from '../ir/reason.ts'
import { gradName } from './differentiate.ts'
import type { Pass } from './pass.ts'
import { copy } from './rewrite.ts'
import { pruned } from './simplify.ts'

/** The loss is already weighted by the scored tokens of the whole batch, so gradients simply add up. */
const buffers = (p: Program): ReadonlyArray<State> =>
  p.state
    .filter((s) => s.role === 'train')
    .map((s) => ({
      name: gradName(s.name),
      type: s.type,
      role: 'gradient',
      recipe: { _tag: 'fill', value: 0 },
    }))

const isUpdate = (e: Eqn): boolean => e.place.stage === 'update'

const microOf = (f: Fn, states: ReadonlyMap<string, State>): Fn => {
  const b = builder()
  const env = new Map<Id, Id>(f.inputs.map((i) => [i.id, b.input(i.name, i.type)]))
  for (const r of f.reads) env.set(r.id, b.read(states.get(r.state)!))
  const owner = new Map(f.outs.flatMap((o) => (o.name.startsWith('grad.') ? [[o.id, o.name]] : [])))
  const updates: Array<Fn['updates'][number]> = []
  for (const e of f.eqns.filter((x) => !isUpdate(x))) {
    const outs = b.at(e.place, () =>
      copy(
        b,
        e,
        e.args.map((a) => env.get(a)!),
      ),
    )
    e.outs.forEach((o, i) => {
      env.set(o, outs[i]!)
      const name = owner.get(o)
      // Added as soon as it exists, so that a gradient lives for one equation.
      if (name !== undefined)
        updates.push({
          state: name,
          id: b.at(e.place, () => b.alg.add(b.read(states.get(name)!), outs[i]!)),
        })
    })
  }
  const needed = new Set(f.eqns.filter(isUpdate).flatMap((e) => e.outs))
  const outs = f.outs
    .filter((o) => !owner.has(o.id) && !needed.has(o.id))
    .map((o) => ({ ...o, id: env.get(o.id)! }))
  return pruned(
    b.done({
      name: 'micro',
      outs,
      updates,
      ...(f.minimizes === undefined ? {} : { minimizes: f.minimizes }),
    }),
  )
}

const updateOf = (f: Fn, p: Program, states: ReadonlyMap<string, State>): Fn => {
  const b = builder()
  const env = new Map<Id, Id>(f.inputs.map((i) => [i.id, b.input(i.name, i.type)]))
  for (const r of f.reads) env.set(r.id, b.read(states.get(r.state)!))
  const grads = f.outs.filter((o) => o.name.startsWith('grad.'))
  for (const g of grads) env.set(g.id, b.read(states.get(g.name)!))
  const inUpdate = new Set(f.eqns.filter(isUpdate).flatMap((e) => e.outs))
  for (const e of f.eqns.filter(isUpdate)) {
    const outs = b.at(e.place, () =>
      copy(
        b,
        e,
        e.args.map((a) => env.get(a)!),
      ),
    )
    e.outs.forEach((o, i) => env.set(o, outs[i]!))
  }
  const types = typesOf(p, f)
  const cleared = b.at({ scope: 'optimizer', stage: 'update' }, () =>
    grads.map((g) => ({ state: g.name, id: b.alg.fill(0, types.get(g.id)!) })),
  )
  return pruned(
    b.done({
      name: 'update',
      outs: f.outs.filter((o) => inUpdate.has(o.id)).map((o) => ({ ...o, id: env.get(o.id)! })),
      updates: [...f.updates.map((u) => ({ ...u, id: env.get(u.id)! })), ...cleared],
    }),
  )
}

/** What an update may read of the rest of the step: gradients and nothing else, or splitting would change it. */
const leak = (f: Fn): string | null => {
  const made = new Map(f.eqns.filter((e) => !isUpdate(e)).flatMap((e) => e.outs.map((o) => [o, e])))
  const grads = new Set(f.outs.filter((o) => o.name.startsWith('grad.')).map((o) => o.id))
  for (const e of f.eqns.filter(isUpdate))
    for (const a of e.args)
      if (made.has(a) && !grads.has(a)) return `${e.op} reads ${made.get(a)!.op}`
  return null
}

export const accumulate: Pass = {
  name: 'accumulate',
  keeps: 'exact',
  run: (p): E.Either<Reason, Program> => {
    const f = p.fns.find((g) => g.minimizes !== undefined)
    if (f === undefined || f.updates.length === 0)
      return E.left(broken('accumulate comes after the optimizer'))
    const why = leak(f)
    if (why !== null) return E.left(broken(`the update depends on gradients alone (${why})`))
    const state = [...p.state, ...buffers(p)]
    const q = { ...p, state }
    const states = stateOf(q)
    return building(() => ({
      ...q,
      fns: p.fns.flatMap((g) => (g === f ? [microOf(f, states), updateOf(f, p, states)] : [g])),
    }))
  },
  promise: (p) =>
    p.fns.some((f) => f.name === 'micro') && p.fns.some((f) => f.name === 'update')
      ? null
      : 'a step is a micro and an update',
}
