/** Whether a program is well formed: bound once and before use, and every type is what the op's rule infers. */
import * as E from 'fp-ts/lib/Either.js'
import type { Fn, Id, Program, State } from './graph.ts'
import { encodes, stateOf } from './graph.ts'
import { isOpName, opOf } from './ops/index.ts'
import { broken, illTyped, type Reason } from './reason.ts'
import { equals, isEncoded, scalar, show, type TensorType } from './type.ts'

const twice = (names: ReadonlyArray<string>): string | undefined => {
  const seen = new Set<string>()
  return names.find((n) => seen.has(n) || !seen.add(n))
}

/** Names that a text can hold: values computed by equations are numbered, so no name may be a number. */
const nameable = /^[A-Za-z_][\w./-]*$/
const odd = (names: ReadonlyArray<string>): Reason | null => {
  const name = names.find((n) => !nameable.test(n))
  return name === undefined ? null : illTyped(JSON.stringify(name), 'not a name such as mlp.weight')
}

/** An encoded tensor gets its first value by encoding one, a plain tensor never does. */
const verifyState = (s: State): Reason | null =>
  (
    encodes(s.recipe)
      ? s.recipe._tag === s.type.dtype.split('/')[0] && !encodes(s.recipe.of)
      : !isEncoded(s.type.dtype)
  )
    ? null
    : illTyped(`%${s.name}`, `${show(s.type)} cannot start as ${s.recipe._tag}`)

/** Once scheduled, every value has a place. */
const verifyOffsets = (f: Fn): Reason | null => {
  if (f.offsets === undefined) return null
  const ids = [...f.inputs.map((i) => i.id), ...f.eqns.flatMap((e) => e.outs)]
  const lost = ids.find((id) => !Number.isSafeInteger(f.offsets!.get(id)))
  return lost === undefined ? null : broken(`@${f.name} has a place for %${lost}`)
}

const verifyEqns = (f: Fn, env: Map<Id, TensorType>): Reason | null => {
  for (const e of f.eqns) {
    const at = `@${f.name} %${e.outs.join(', %')} = ${e.op}`
    if (!isOpName(e.op)) return illTyped(at, 'no such op')
    const args: TensorType[] = []
    for (const a of e.args) {
      const type = env.get(a)
      if (type === undefined) return illTyped(at, `%${a} is used before it is defined`)
      args.push(type)
    }
    const op = opOf(e.op)
    if (args.length !== op.arity)
      return illTyped(at, `takes ${op.arity} operands, got ${args.length}`)
    if (!op.attrs.is(e.attrs))
      return illTyped(at, `attributes ${JSON.stringify(e.attrs)} do not fit`)
    const typed = op.infer(e.attrs, args)
    if (E.isLeft(typed)) return illTyped(at, typed.left)
    if (typed.right.length !== e.outs.length || e.types.length !== e.outs.length)
      return illTyped(at, `gives ${typed.right.length} results, binds ${e.outs.length}`)
    for (const [i, out] of e.outs.entries()) {
      const [rule, recorded] = [typed.right[i]!, e.types[i]!]
      if (!equals(rule, recorded))
        return illTyped(at, `recorded ${show(recorded)}, the rule gives ${show(rule)}`)
      if (env.has(out)) return illTyped(at, `%${out} is bound twice`)
      env.set(out, recorded)
    }
  }
  return null
}

const verifyEnds = (
  f: Fn,
  env: Map<Id, TensorType>,
  state: ReadonlyMap<string, State>,
): Reason | null => {
  const double = twice(f.updates.map((u) => u.state)) ?? twice(f.outs.map((o) => o.name))
  if (double !== undefined) return broken(`@${f.name} gives ${double} once`)
  for (const o of f.outs)
    if (!env.has(o.id)) return illTyped(`@${f.name} returns ${o.name}`, `%${o.id} is not defined`)
  for (const u of f.updates) {
    const [had, gets] = [state.get(u.state), env.get(u.id)]
    if (had === undefined) return illTyped(`@${f.name} updates ${u.state}`, 'no such state')
    if (gets === undefined || !equals(had.type, gets))
      return illTyped(
        `@${f.name} updates ${u.state}`,
        `${show(had.type)} with ${gets === undefined ? 'nothing' : show(gets)}`,
      )
  }
  if (f.minimizes === undefined) return null
  const goal = f.outs.find((o) => o.name === f.minimizes)
  const type = goal === undefined ? undefined : env.get(goal.id)
  return type !== undefined && equals(type, scalar('f32'))
    ? null
    : illTyped(`@${f.name} minimizes ${f.minimizes}`, 'it is not an f32[] output')
}

const verifyFn = (f: Fn, state: ReadonlyMap<string, State>): Reason | null => {
  const env = new Map<Id, TensorType>()
  const names = [...f.inputs.map((i) => i.name), ...f.reads.map((r) => r.state)]
  const unnamed = odd([f.name, ...names, ...f.outs.map((o) => o.name)])
  if (unnamed !== null) return unnamed
  const double = twice(names)
  if (double !== undefined) return broken(`@${f.name} names %${double} once`)
  for (const i of f.inputs) env.set(i.id, i.type)
  for (const r of f.reads) {
    const s = state.get(r.state)
    if (s === undefined) return illTyped(`@${f.name}`, `reads unknown state %${r.state}`)
    if (env.has(r.id)) return illTyped(`@${f.name}`, `%${r.id} is bound twice`)
    env.set(r.id, s.type)
  }
  return verifyEqns(f, env) ?? verifyEnds(f, env, state) ?? verifyOffsets(f)
}

export const verify = (p: Program): E.Either<Reason, Program> => {
  const double = twice(p.state.map((s) => s.name)) ?? twice(p.fns.map((f) => f.name))
  if (double !== undefined) return E.left(broken(`${double} is declared once`))
  const state = stateOf(p)
  const bad = odd(p.state.map((s) => s.name)) ?? p.state.map(verifyState).find((r) => r !== null)
  if (bad !== null && bad !== undefined) return E.left(bad)
  for (const f of p.fns) {
    const reason = verifyFn(f, state)
    if (reason !== null) return E.left(reason)
  }
  return E.right(p)
}
