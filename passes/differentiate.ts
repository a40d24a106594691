/** Reverse-mode differentiation of what a function minimizes, only towards trainable state. */
import * as E from 'fp-ts/lib/Either.js'
import { building, refuse, type Builder } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf, typesOf } from '../ir/graph.ts'
import { opOf } from '../ir/ops/index.ts'
import { broken, unsupported } from '../ir/reason.ts'
import type { TensorType } from '../ir/type.ts'
import { isFloat, scalar } from '../ir/type.ts'
import type { Pass } from './pass.ts'
import { rebuild, copy } from './rewrite.ts'

export const gradName = (state: string): string => `grad.${state}`

/** The floats that depend on trainable state, other than through constants: cotangents flow to these alone. */
const dependents = (f: Fn, states: ReadonlyMap<string, State>): ReadonlySet<Id> => {
  const ids = new Set<Id>(
    f.reads.filter((r) => states.get(r.state)?.role === 'train').map((r) => r.id),
  )
  for (const e of f.eqns)
    if (opOf(e.op).constant === undefined && e.args.some((a) => ids.has(a)))
      e.outs.forEach((o, i) => isFloat(e.types[i]!.dtype) && ids.add(o))
  return ids
}

/**
 * A decoded or narrowed weight is made again in the backward instead of being kept from the forward:
 * one scratch serves all layers.
 */
const fresh = (f: Fn): ((id: Id, b: Builder, now: (old: Id) => Id) => Id) => {
  const read = new Set(f.reads.map((r) => r.id))
  const cheap = new Map<Id, Eqn>()
  for (const e of f.eqns)
    if ((e.op === 'dequantize' || e.op === 'cast') && e.args.every((a) => read.has(a)))
      cheap.set(e.outs[0]!, e)
  return (id, b, now) => {
    const e = cheap.get(id)
    return e === undefined
      ? now(id)
      : b.at({ stage: 'recompute' }, () => copy(b, e, e.args.map(now))[0]!)
  }
}

/** A gradient that cannot be computed is never left out in silence. */
const impassable = (e: Eqn): never =>
  refuse(unsupported(`no gradient leads through ${e.op} in ${e.place.scope || 'the program'}`))

const backward = (
  f: Fn,
  types: ReadonlyMap<Id, TensorType>,
  wanted: ReadonlySet<Id>,
  b: Builder,
  now: (old: Id) => Id,
): ReadonlyMap<Id, Id> => {
  const cts = new Map<Id, Id>()
  const goal = f.outs.find((o) => o.name === f.minimizes)!
  const remake = fresh(f)
  cts.set(
    goal.id,
    b.at({ scope: 'loss', stage: 'backward' }, () => b.alg.fill(1, scalar('f32'))),
  )
  for (const e of f.eqns.toReversed()) {
    const rule = opOf(e.op).vjp
    const incoming = e.outs.map((o) => cts.get(o) ?? null)
    if (incoming.every((c) => c === null) || !e.args.some((a) => wanted.has(a))) continue
    if (rule === null) return impassable(e)
    b.at({ scope: e.place.scope, stage: 'backward' }, () => {
      const flow = rule({
        alg: b.alg,
        attrs: e.attrs,
        args: e.args.map((a) => remake(a, b, now)),
        types: e.args.map((a) => types.get(a)!),
        outs: e.outs.map(now),
        cts: incoming,
      })
      e.args.forEach((a, i) => {
        if (!wanted.has(a)) return
        const before = cts.get(a)
        const here = (flow[i] ?? (() => impassable(e)))()
        cts.set(a, before === undefined ? here : b.alg.add(before, here))
      })
    })
  }
  return cts
}

const differentiateFn = (f: Fn, p: Program, states: ReadonlyMap<string, State>): Fn => {
  const wanted = dependents(f, states)
  return rebuild(
    f,
    states,
    () => null,
    (b, now) => {
      const cts = backward(f, typesOf(p, f), wanted, b, now)
      const grads = f.reads.flatMap((r) => {
        const ct = cts.get(r.id)
        return ct === undefined || states.get(r.state)?.role !== 'train'
          ? []
          : [{ name: gradName(r.state), id: ct }]
      })
      return { outs: [...f.outs.map((o) => ({ ...o, id: now(o.id) })), ...grads] }
    },
  )
}

export const differentiate: Pass = {
  name: 'differentiate',
  keeps: 'exact',
  run: (p) => {
    const states = stateOf(p)
    if (!p.state.some((s) => s.role === 'train'))
      return E.left(unsupported('nothing is trainable: add an adapter or train the model itself'))
    if (!p.fns.some((f) => f.minimizes !== undefined))
      return E.left(broken('some function minimizes an output'))
    return building(() => ({
      ...p,
      fns: p.fns.map((f) => (f.minimizes === undefined ? f : differentiateFn(f, p, states))),
    }))
  },
  promise: (p) => {
    const f = p.fns.find((g) => g.minimizes !== undefined)
    const given = new Set(f?.outs.map((o) => o.name))
    const lost = p.state.find((s) => s.role === 'train' && !given.has(gradName(s.name)))
    return lost === undefined
      ? null
      : `every trainable tensor has a gradient path, but ${lost.name} has none`
  },
}
