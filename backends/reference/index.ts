/** The definition of the IR, run inside the planned arena: if the memory plan is wrong, results are. Slow and obvious. */
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { evaluateEqn } from '../../ir/evaluate.ts'
import type { Fn, Id, Program } from '../../ir/graph.ts'
import { fnOf, stateOf, typesOf } from '../../ir/graph.ts'
import type { Tensor } from '../../ir/op.ts'
import { bytes, isEncoded, show, size, type TensorType } from '../../ir/type.ts'
import { arenaBytes } from '../../passes/schedule.ts'
import {
  backendError,
  type Backend,
  type BackendError,
  type Feeds,
  type Session,
} from '../backend.ts'
import { decode, encode, misfit } from '../bytes.ts'
import { wantedOf } from '../wanted.ts'

const failed = (message: string): E.Either<BackendError, never> =>
  E.left(backendError('reference', message))

interface Arena {
  readonly load: (type: TensorType, at: number) => Tensor
  readonly store: (t: Tensor, at: number) => void
  readonly bytes: (type: TensorType, at: number) => Uint8Array
}

const arenaOf = (size: number): Arena => {
  const memory = new Uint8Array(size)
  const view = (type: TensorType, at: number) => memory.subarray(at, at + bytes(type))
  return {
    bytes: view,
    load: (type, at) => ({
      type,
      data: isEncoded(type.dtype) ? view(type, at).slice() : decode(type, view(type, at)),
    }),
    store: (t, at) => memory.set(encode(t.type, t.data), at),
  }
}

/** Where each id of a function lies. */
const addresses = (p: Program, f: Fn): ReadonlyMap<Id, number> => {
  const state = stateOf(p)
  return new Map([
    ...(f.offsets ?? []),
    ...f.reads.map((r) => [r.id, state.get(r.state)!.offset!] as const),
  ])
}

const feed = (f: Fn, inputs: Feeds, put: (id: Id, t: Tensor) => void): string | null => {
  for (const i of f.inputs) {
    const given = inputs[i.name]
    if (given === undefined) return `@${f.name} needs %${i.name}: ${show(i.type)}`
    if (given.length !== size(i.type))
      return `%${i.name} has ${given.length} values, ${show(i.type)} needs ${size(i.type)}`
    put(i.id, { type: i.type, data: Float64Array.from(given) })
  }
  return null
}

const runFn = (
  p: Program,
  f: Fn,
  arena: Arena,
  inputs: Feeds,
  wanted: ReadonlyArray<string> | undefined,
): E.Either<BackendError, Feeds> => {
  const asked = wantedOf(f, wanted)
  if (typeof asked === 'string') return failed(asked)
  const [types, at, state] = [typesOf(p, f), addresses(p, f), stateOf(p)]
  const load = (id: Id): Tensor => arena.load(types.get(id)!, at.get(id)!)
  const why = feed(f, inputs, (id, t) => arena.store(t, at.get(id)!))
  if (why !== null) return failed(why)
  for (const e of asked.eqns)
    evaluateEqn(e, e.args.map(load), 'typed').forEach((t, i) => arena.store(t, at.get(e.outs[i]!)!))
  // Updates that could not be made in place are copied now, all read before any is written.
  for (const [name, t] of f.updates.map((u) => [u.state, load(u.id)] as const))
    arena.store(t, state.get(name)!.offset!)
  return E.right(
    Object.fromEntries(
      asked.outs.map((o) => {
        const t = load(o.id)
        return [
          o.name,
          t.type.dtype === 'i32' ? Int32Array.from(t.data) : Float32Array.from(t.data),
        ]
      }),
    ),
  )
}

const session = (p: Program): Session => {
  const arena = arenaOf(arenaBytes(p))
  const states = stateOf(p)
  const named = <T>(
    name: string,
    use: (type: TensorType, at: number) => E.Either<BackendError, T>,
  ) => {
    const s = states.get(name)
    return async () => (s === undefined ? failed(`no state ${name}`) : use(s.type, s.offset!))
  }
  return {
    run: (name, inputs, wanted) => async () => {
      const f = fnOf(p, name)
      return f === undefined ? failed(`no function ${name}`) : runFn(p, f, arena, inputs, wanted)
    },
    read: (name) => named(name, (type, at) => E.right(arena.bytes(type, at).slice())),
    write: (name, given) =>
      named(name, (type, at) => {
        const why = misfit(type, given)
        if (why !== null) return failed(`${name}: ${why}`)
        arena.bytes(type, at).set(given)
        return E.right(undefined)
      }),
    close: () => TE.right(undefined),
  }
}

export const reference: Backend = {
  name: 'reference',
  doc: "each op's own evaluator inside the planned arena: the oracle of every test",
  diagnose: async () => null,
  prepare: (p) =>
    p.state.every((s) => s.offset !== undefined) && p.fns.every((f) => f.offsets !== undefined)
      ? TE.right(session(p))
      : TE.left(
          backendError('reference', 'the program is not scheduled', 'run the schedule pass last'),
        ),
}
