/** A function gives named values of its inside instead of its results: what is collected is what the model computes. */
import * as E from 'fp-ts/lib/Either.js'
import { building } from '../ir/build.ts'
import type { Eqn, Fn, Id, Program } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { isFloat, type TensorType } from '../ir/type.ts'
import { moduleOf } from './linear.ts'
import type { Pass } from './pass.ts'
import { rebuild } from './rewrite.ts'
import { pruned } from './simplify.ts'

export interface Named {
  readonly name: string
  readonly id: Id
  readonly type: TensorType
}

const users = (f: Fn): ReadonlyMap<Id, ReadonlyArray<Eqn>> => {
  const of = new Map<Id, Array<Eqn>>()
  for (const e of f.eqns)
    for (const a of new Set(e.args)) {
      const known = of.get(a)
      if (known === undefined) of.set(a, [e])
      else known.push(e)
    }
  return of
}

/** States by the value that reads them, as they are, narrowed or decoded. */
const reading = (f: Fn): ReadonlyMap<Id, string> => {
  const names = new Map(f.reads.map((r) => [r.id, r.state]))
  for (const e of f.eqns) {
    const name = names.get(e.args[0] ?? -1)
    if ((e.op === 'cast' || e.op === 'dequantize') && name !== undefined)
      names.set(e.outs[0]!, name)
  }
  return names
}

type Rest = Pick<Named, 'id' | 'type'>

/** What a linear layer gives in all: its product, then its bias and its adapter's share where there are such. */
const moduleResults = (f: Fn): ReadonlyArray<Named> => {
  const [names, used] = [reading(f), users(f)]
  const madeBy = new Map(f.eqns.flatMap((e) => e.outs.map((o) => [o, e] as const)))
  const isLow = (id: Id, module: string): boolean =>
    names.get(madeBy.get(id)?.args[1] ?? -1) === `${module}.lora_B.weight`
  const whole = (at: Rest, module: string): Rest => {
    const [next, ...others] = used.get(at.id) ?? []
    if (next === undefined || others.length > 0) return at
    const other = next.args.find((a) => a !== at.id)
    const goesOn =
      (next.op === 'addRow' && names.get(other ?? -1) === `${module}.bias`) ||
      (next.op === 'add' && other !== undefined && isLow(other, module))
    return goesOn ? whole({ id: next.outs[0]!, type: next.types[0]! }, module) : at
  }
  return f.eqns.flatMap((e) => {
    const weight = names.get(e.args[1] ?? -1)
    if (!['dot', 'float8Dot', 'int8Dot'].includes(e.op) || weight?.endsWith('.weight') !== true)
      return []
    const name = moduleOf(weight)
    return [{ name, ...whole({ id: e.outs[0]!, type: e.types[0]! }, name) }]
  })
}

/** Of each part of the model the first value that other parts read. */
const scopeResults = (f: Fn): ReadonlyArray<Named> => {
  const used = users(f)
  const outs = new Set(f.outs.map((o) => o.id))
  const seen = new Map<string, Named>()
  for (const e of f.eqns)
    e.outs.forEach((id, i) => {
      const { scope } = e.place
      const leaves = outs.has(id) || (used.get(id) ?? []).some((u) => u.place.scope !== scope)
      if (leaves && !seen.has(scope)) seen.set(scope, { name: scope, id, type: e.types[i]! })
    })
  return [...seen.values()]
}

/** Every equation by its part and op, counted where a part has several. */
const equationResults = (f: Fn): ReadonlyArray<Named> => {
  const counts = new Map<string, number>()
  return f.eqns.flatMap((e) =>
    e.outs.map((id, i) => {
      const key = `${e.place.scope}.${e.op}`
      const n = counts.get(key) ?? 0
      counts.set(key, n + 1)
      return { name: `${key}.${n}`, id, type: e.types[i]! }
    }),
  )
}

/** The layers' results as transformers numbers them: the embedding, each layer's, and the last after its norm. */
const hiddenStates = (scopes: ReadonlyArray<Named>): ReadonlyArray<Named> => {
  const embed = scopes.filter((s) => s.name === 'embed')
  const layers = scopes.filter((s) => /^layers\.\d+\.mlp$/.test(s.name))
  const last = scopes.filter((s) => s.name === 'head')
  return [...embed, ...layers.slice(0, -1), ...last].map((s, i) => ({
    ...s,
    name: `hidden_states.${i}`,
  }))
}

/** Values of a function that have a row each for `rows` things, by every name that they have. */
export const namedValues = (f: Fn, rows: number): ReadonlyArray<Named> => {
  const scopes = scopeResults(f)
  const all = [...hiddenStates(scopes), ...scopes, ...moduleResults(f), ...equationResults(f)]
  return all.filter(
    ({ type }) => isFloat(type.dtype) && type.shape.length === 2 && type.shape[0] === rows,
  )
}

/** A name, or a pattern of names in which `*` stands for anything but a dot. */
const matcher = (pattern: string): RegExp =>
  new RegExp(`^${pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^.]*')}$`)

export interface Collect {
  readonly fn: string
  readonly names: ReadonlyArray<string>
  readonly rows: number
}

const collected = (p: Program, f: Fn, wanted: ReadonlyArray<Named>): Fn =>
  pruned(
    rebuild(
      f,
      stateOf(p),
      () => null,
      (b, now) => ({
        outs: wanted.map(({ name, id }) => ({
          name,
          id: b.at({ scope: 'collect' }, () => b.emit('cast', { to: 'f32' }, now(id))[0]!),
        })),
      }),
    ),
  )

/** Left: a name that no value has. */
export const collect = (o: Collect): Pass => ({
  name: `collect(${o.names.join(' ')})`,
  keeps: 'meaning',
  run: (p) => {
    const f = p.fns.find((g) => g.name === o.fn)
    if (f === undefined) return E.left({ _tag: 'NoMatch', target: o.fn, known: [] })
    const all = namedValues(f, o.rows)
    const lost = o.names.find((n) => !all.some((v) => matcher(n).test(v.name)))
    if (lost !== undefined)
      return E.left({ _tag: 'NoMatch', target: lost, known: all.map((v) => v.name) })
    const wanted = all.filter((v) => o.names.some((n) => matcher(n).test(v.name)))
    const once = wanted.filter((v, i) => wanted.findIndex((w) => w.name === v.name) === i)
    return building(() => ({ ...p, fns: [collected(p, f, once)] }))
  },
})
