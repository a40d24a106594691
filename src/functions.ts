/** Programs of one function, written in tensor functions, and their meaning by the definition of every op. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { evaluateFn } from '../ir/evaluate.ts'
import { builder, building, type Builder } from '../ir/build.ts'
import { fnOf, stateOf, type Fn, type Id, type Program, type State } from '../ir/graph.ts'
import type { Tensor } from '../ir/op.ts'
import type { Reason } from '../ir/reason.ts'
import { isEncoded, show, size, type TensorType } from '../ir/type.ts'
import { verify } from '../ir/verify.ts'
import { issue, type Issue } from './issue.ts'

/** A builder that can also declare trainable tensors. */
export interface FunctionBuilder extends Pick<Builder, 'alg' | 'input' | 'typeOf' | 'at'> {
  /** A trainable matrix or vector, loaded under its own name. */
  readonly weight: (name: string, type: TensorType) => Id
}

export interface FnOptions {
  /** The output that training would minimize: an f32[]. */
  readonly minimizes?: string
}

/** A program with one function. `body` gives its outputs by name. Left: the equation that is ill-typed. */
export const fn = (
  name: string,
  body: (b: FunctionBuilder) => Readonly<Record<string, Id>>,
  o: FnOptions = {},
): E.Either<Reason, Program> => {
  const state = new Map<string, State>()
  const b = builder()
  const weight = (key: string, type: TensorType): Id => {
    const made: State = { name: key, type, role: 'train', recipe: { _tag: 'load', key } }
    state.set(key, state.get(key) ?? made)
    return b.read(state.get(key)!)
  }
  return pipe(
    building((): Program => {
      const outs = Object.entries(body({ ...b, weight })).map(([out, id]) => ({ name: out, id }))
      const f = b.done({ name, outs, updates: [], ...o })
      return { name, state: [...state.values()], fns: [f] }
    }),
    E.chain(verify),
  )
}

/** Numbers of inputs and of state, row-major. */
export type Numbers = Readonly<Record<string, ArrayLike<number>>>

const given = (
  name: string,
  type: TensorType,
  values: ArrayLike<number> | undefined,
): E.Either<Issue, Tensor> => {
  if (values === undefined)
    return E.left(issue(`${name} is not given`, { path: name, expected: show(type) }))
  if (isEncoded(type.dtype)) return E.right({ type, data: Uint8Array.from(values) })
  return values.length === size(type)
    ? E.right({ type, data: Float64Array.from(values) })
    : E.left(
        issue(`${name} has ${values.length} values`, {
          path: name,
          expected: `${size(type)}, for ${show(type)}`,
        }),
      )
}

const arguments_ = (p: Program, f: Fn, values: Numbers): E.Either<Issue, Map<Id, Tensor>> => {
  const state = stateOf(p)
  const wanted = [
    ...f.inputs,
    ...f.reads.map((r) => ({ id: r.id, name: r.state, type: state.get(r.state)!.type })),
  ]
  return pipe(
    wanted,
    E.traverseArray(({ id, name, type }) =>
      pipe(
        given(name, type, values[name]),
        E.map((tensor) => [id, tensor] as const),
      ),
    ),
    E.map((entries) => new Map(entries)),
  )
}

/** What a function returns, and the state as it is afterwards, by the definition of every op. Left: a value is missing or has another size. */
export const evaluate = (
  p: Program,
  name: string,
  values: Numbers,
): E.Either<Issue, Readonly<Record<string, ReadonlyArray<number>>>> => {
  const f = fnOf(p, name)
  if (f === undefined)
    return E.left(
      issue(`the program has no function ${name}`, {
        expected: `one of ${p.fns.map((g) => g.name).join(', ')}`,
      }),
    )
  return pipe(
    arguments_(p, f, values),
    E.map((env) => {
      const all = evaluateFn(f, env)
      const numbers = (id: Id): ReadonlyArray<number> => [...all.get(id)!.data]
      return Object.fromEntries([
        ...f.outs.map((o) => [o.name, numbers(o.id)] as const),
        ...f.updates.map((u) => [u.state, numbers(u.id)] as const),
      ])
    }),
  )
}
