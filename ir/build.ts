/** The only maker of equations: every emit runs the op's typing rule. Mutation stays in here. */
import * as E from 'fp-ts/lib/Either.js'
import { algebra, type Algebra, type Emit } from './algebra.ts'
import type { Eqn, Fn, Id, Input, Place, State } from './graph.ts'
import { opOf } from './ops/index.ts'
import { illTyped, type Reason } from './reason.ts'
import { show, type TensorType } from './type.ts'

export interface Builder {
  /** The tensor functions. */
  readonly alg: Algebra<Id>
  readonly emit: Emit<Id>
  readonly typeOf: (id: Id) => TensorType
  /** An input; asking twice for one name gives the same. */
  readonly input: (name: string, type: TensorType) => Id
  /** The value of a state tensor at the start of the call. */
  readonly read: (state: State) => Id
  /** Equations made inside `body` belong to `place`. */
  readonly at: <T>(place: Partial<Place>, body: () => T) => T
  readonly done: (f: Pick<Fn, 'name' | 'outs' | 'updates'> & { readonly minimizes?: string }) => Fn
}

/** Carries a reason out of code that builds; caught by `building` and nowhere else. */
interface Refusal extends Error {
  readonly reason: Reason
}
export const refuse = (reason: Reason): never => {
  throw Object.assign(new Error('ill-typed program'), { reason }) satisfies Refusal
}

/** Runs code that builds; an ill-typed equation becomes a value. */
export const building = <T>(body: () => T): E.Either<Reason, T> => {
  try {
    return E.right(body())
  } catch (e) {
    if (e instanceof Error && 'reason' in e) return E.left((e as Refusal).reason)
    throw e
  }
}

export const builder = (): Builder => {
  const inputs: Input[] = []
  const reads = new Map<string, Id>()
  const eqns: Eqn[] = []
  const types: TensorType[] = []
  let here: Place = { scope: '', stage: 'forward' }
  const define = (t: TensorType): Id => types.push(t) - 1
  const typeOf = (id: Id): TensorType =>
    types[id] ?? refuse(illTyped(`%${id}`, 'used before it is defined'))
  const emit: Emit<Id> = (op, attrs, ...args) => {
    const operands = args.map(typeOf)
    const typed =
      opOf(op).arity === args.length
        ? opOf(op).infer(attrs, operands)
        : E.left(`takes ${opOf(op).arity} operands, got ${args.length}`)
    if (E.isLeft(typed))
      return refuse(
        illTyped(`${op}(${operands.map(show).join(', ')}) in ${here.scope}`, typed.left),
      )
    const outs = typed.right.map(define)
    eqns.push({ outs, op, args, attrs, types: typed.right, place: here })
    return outs
  }
  return {
    alg: algebra(emit, typeOf),
    emit,
    typeOf,
    input: (name, type) => {
      const known = inputs.find((i) => i.name === name)
      if (known !== undefined) return known.id
      const id = define(type)
      inputs.push({ id, name, type })
      return id
    },
    read: (state) => {
      const known = reads.get(state.name)
      if (known !== undefined) return known
      const id = define(state.type)
      reads.set(state.name, id)
      return id
    },
    at: (place, body) => {
      const before = here
      here = { ...here, ...place }
      const result = body()
      here = before
      return result
    },
    done: (f) => ({
      ...f,
      inputs,
      eqns,
      reads: [...reads].map(([state, id]) => ({ id, state })),
    }),
  }
}
