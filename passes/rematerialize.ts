/** Gradient checkpointing (Chen et al. 2016): forward values are computed again in the backward instead of being kept. */
import * as E from 'fp-ts/lib/Either.js'
import { building, builder } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf, typesOf } from '../ir/graph.ts'
import { opOf } from '../ir/ops/index.ts'
import { bytes, type TensorType } from '../ir/type.ts'
import { peakOf, stateBytes } from './memory.ts'
import type { Pass } from './pass.ts'
import { copy } from './rewrite.ts'

/** Keep everything; keep only what enters each layer; or recompute the cheapest per byte until the arena fits. */
export type Policy =
  | { readonly _tag: 'none' }
  | { readonly _tag: 'layers' }
  | { readonly _tag: 'budget'; readonly bytes: number }

/** Bytes that a program takes while one of its functions runs: all state, and what the function keeps besides. */
export type Measure = (p: Program, f: Fn) => number

/** What any backend needs at least that keeps every value of the program. */
export const byLiveness: Measure = (p, f) => stateBytes(p) + peakOf(p, f)

/** `layers.3` of `layers.3.mlp`; null outside the layers. */
export const layerOf = (scope: string): string | null => /^layers\.\d+/.exec(scope)?.[0] ?? null

/** Which forward equations are computed again. */
type Choice = (e: Eqn) => boolean

const isForward = (e: Eqn): boolean => e.place.stage === 'forward'

/** Decoded and narrowed weights are always made again: keeping one would undo the technique that made it small. */
const weightWork = (f: Fn): ReadonlySet<Id> => {
  const reads = new Set(f.reads.map((r) => r.id))
  return new Set(
    f.eqns
      .filter(
        (e) => (e.op === 'dequantize' || e.op === 'cast') && e.args.every((a) => reads.has(a)),
      )
      .flatMap((e) => e.outs),
  )
}

/** Values that leave their layer are what a checkpoint keeps. */
const boundaries = (f: Fn): ReadonlySet<Id> => {
  const home = new Map(
    f.eqns.flatMap((e) => e.outs.map((o) => [o, layerOf(e.place.scope)] as const)),
  )
  const left = new Set<Id>(f.outs.map((o) => o.id))
  for (const e of f.eqns.filter(isForward))
    for (const a of e.args) if (home.get(a) !== layerOf(e.place.scope)) left.add(a)
  return left
}

/** The function with every use of a chosen value in the backward replaced by one computed again. */
const recompute = (f: Fn, states: ReadonlyMap<string, State>, chosen: Choice): Fn => {
  const b = builder()
  const env = new Map<Id, Id>(f.inputs.map((i) => [i.id, b.input(i.name, i.type)]))
  for (const r of f.reads) env.set(r.id, b.read(states.get(r.state)!))
  const made = new Map(f.eqns.filter(isForward).flatMap((e) => e.outs.map((o) => [o, e] as const)))
  const again = new Map<Id, Id>()
  const get = (old: Id): Id => {
    const maker = made.get(old)
    if (maker === undefined || !chosen(maker)) return env.get(old)!
    const known = again.get(old)
    if (known !== undefined) return known
    const args = maker.args.map(get)
    const outs = b.at({ scope: maker.place.scope, stage: 'recompute' }, () => copy(b, maker, args))
    maker.outs.forEach((o, i) => again.set(o, outs[i]!))
    return again.get(old)!
  }
  for (const e of f.eqns) {
    const args = e.args.map((a) => (isForward(e) ? env.get(a)! : get(a)))
    const outs = b.at(e.place, () => copy(b, e, args))
    e.outs.forEach((o, i) => env.set(o, outs[i]!))
  }
  return b.done({
    name: f.name,
    outs: f.outs.map((o) => ({ ...o, id: env.get(o.id)! })),
    updates: f.updates.map((u) => ({ ...u, id: env.get(u.id)! })),
    ...(f.minimizes === undefined ? {} : { minimizes: f.minimizes }),
  })
}

/** FLOPs to make an equation's results again, per byte that need not be kept. */
const costPerByte = (e: Eqn, types: ReadonlyMap<Id, TensorType>): number =>
  opOf(e.op).flops(
    e.attrs,
    e.args.map((a) => types.get(a)!),
    e.types,
  ) / e.types.reduce((n, t) => n + bytes(t), 0)

interface Candidates {
  readonly layers: ReadonlyArray<string>
  /** Distinct costs, ascending: the steps by which recomputation grows. */
  readonly levels: ReadonlyArray<number>
  /** Recompute up to a level, one level further in the first layers. */
  readonly upTo: (level: number, further: number) => Choice
}

const candidates = (p: Program, f: Fn): Candidates => {
  const types = typesOf(p, f)
  const [outside, weights] = [boundaries(f), weightWork(f)]
  const inner = f.eqns.filter(
    (e) => isForward(e) && layerOf(e.place.scope) !== null && !e.outs.some((o) => outside.has(o)),
  )
  const cost = new Map(inner.map((e) => [e, costPerByte(e, types)]))
  const levels = [...new Set(cost.values())].sort((a, b) => a - b)
  const layers = [...new Set(inner.map((e) => layerOf(e.place.scope)!))]
  const rank = new Map(layers.map((l, i) => [l, i]))
  const upTo =
    (level: number, further: number): Choice =>
    (e) => {
      if (e.outs.some((o) => weights.has(o))) return true
      const at = cost.get(e)
      if (at === undefined) return false
      const reach = rank.get(layerOf(e.place.scope)!)! < further ? level + 1 : level
      return reach >= 0 && at <= levels[reach]!
    }
  return { layers, levels, upTo }
}

/** Smallest n in [0, most] that satisfies a condition which stays true once it is; `most` if none does. */
const least = (most: number, ok: (n: number) => boolean): number => {
  let [lo, hi] = [0, most]
  while (lo < hi) {
    const mid = (lo + hi) >> 1
    if (ok(mid)) hi = mid
    else lo = mid + 1
  }
  return lo
}

const underBudget = (p: Program, f: Fn, budget: number, measure: Measure): Fn => {
  const states = stateOf(p)
  const fits = (g: Fn) => measure(p, g) <= budget
  if (fits(f)) return f
  const c = candidates(p, f)
  const build = (level: number, further: number) => recompute(f, states, c.upTo(level, further))
  const level = least(c.levels.length - 1, (n) => fits(build(n, 0)))
  const further = least(c.layers.length, (n) => fits(build(level - 1, n)))
  return smaller(p, f, build(level - 1, further), measure)
}

/** Recomputing is never allowed to raise the peak. */
const smaller = (p: Program, f: Fn, g: Fn, measure: Measure): Fn =>
  measure(p, g) < measure(p, f) ? g : f

const show = (o: Policy): string => (o._tag === 'budget' ? `budget=${o.bytes}` : o._tag)

/** What a value costs to keep, the backend's `measure` decides: it may keep fewer than the program names. */
export const rematerialize = (o: Policy, measure: Measure = byLiveness): Pass => ({
  name: `rematerialize(${show(o)})`,
  keeps: 'exact',
  run: (p) => {
    if (o._tag === 'none') return E.right(p)
    const states = stateOf(p)
    const change = (f: Fn): Fn => {
      if (!f.eqns.some((e) => e.place.stage === 'backward')) return f
      if (o._tag === 'budget') return underBudget(p, f, o.bytes, measure)
      const c = candidates(p, f)
      return smaller(p, f, recompute(f, states, c.upTo(c.levels.length - 1, 0)), measure)
    }
    return building((): Program => ({ ...p, fns: p.fns.map(change) }))
  },
})
