/** A program interpreted by TensorFlow, equation by equation; a value is deleted after its last use. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import {
  fnOf,
  typesOf,
  type Eqn,
  type Fn,
  type Id,
  type Input,
  type Program,
} from '../../ir/graph.ts'
import { show, size, type Plain, type TensorType } from '../../ir/type.ts'
import type { BackendError, Session, Values } from '../backend.ts'
import { misfit } from '../bytes.ts'
import { wantedOf } from '../wanted.ts'
import {
  cellsOf,
  contents,
  dispose,
  fill,
  noDtype,
  packedCell,
  readCell,
  settle,
  type Cell,
} from './cells.ts'
import { kernels } from './kernels.ts'
import { fail, type Host } from './load.ts'
import { constantsOf, dtypeOf, nodesOf, type Nodes, type Value } from './nodes.ts'
import type { Kernel, Parts } from './site.ts'
import { DT, type Tensor } from './tf.ts'

/** A function with what is asked of it at every run. */
interface Ready {
  readonly fn: Fn
  readonly types: ReadonlyMap<Id, TensorType>
  /** Values that no later equation and no result needs, by equation. */
  readonly dead: ReadonlyArray<ReadonlyArray<Id>>
}

const readyOf = (p: Program, fn: Fn): Ready => {
  const kept = new Set([...fn.outs.map((o) => o.id), ...fn.updates.map((u) => u.id)])
  const last = new Map<Id, number>()
  fn.eqns.forEach((e, i) => [...e.outs, ...e.args].forEach((id) => last.set(id, i)))
  const dead = fn.eqns.map((): Array<Id> => [])
  for (const [id, i] of last) if (!kept.has(id)) dead[i]!.push(id)
  return { fn, types: typesOf(p, fn), dead }
}

/** Values of one run. Ids of f32 state are only lent. */
interface Env {
  readonly values: Map<Id, Value>
  readonly parts: Map<Id, Parts>
  readonly lent: Set<number>
}

/** How values cross to the caller: as arrays, or as tf.Tensors. */
interface Border<T> {
  /** The value of what is given for an input; null: it does not fit. */
  readonly take: (host: Host, n: Nodes, i: Input, given: T) => Value | null
  /** A result of ours, whose id is the border's from then on. */
  readonly give: (host: Host, v: Value) => T
  readonly show: (given: T) => string
}

const arrays: Border<Values> = {
  take: (_, n, { type }, given) => {
    if (given.length !== size(type)) return null
    const whole = type.dtype === 'i32'
    // A copy: TensorFlow keeps the array itself, and the caller may write to his.
    const data = whole ? Int32Array.from(given) : Float32Array.from(given)
    return n.upload(type.shape, whole ? DT.i32 : DT.f32, data)
  },
  give: ({ backend: { binding } }, v) => {
    const data = binding.tensorDataSync(v.id) as Values
    binding.deleteTensor(v.id)
    return data
  },
  show: (given) => `${given.length} values`,
}

const tensors: Border<Tensor> = {
  take: ({ backend }, n, { type }, x) =>
    x.size !== size(type) || x.dtype !== (type.dtype === 'i32' ? 'int32' : 'float32')
      ? null
      : n.reshape(
          {
            id: backend.getInputTensorIds([x])[0]!,
            dtype: x.dtype === 'int32' ? DT.i32 : DT.f32,
            shape: x.shape,
          },
          ...type.shape,
        ),
  give: ({ backend }, v) => backend.createOutputTensor(v),
  show: (x) => `${x.dtype} [${x.shape.join(', ')}]`,
}

type Given<T> = Readonly<Record<string, T>>

const feed = <T>(
  host: Host,
  n: Nodes,
  f: Fn,
  env: Env,
  border: Border<T>,
  inputs: Given<T>,
): string | null => {
  for (const i of f.inputs) {
    const given = inputs[i.name]
    const raw = given === undefined ? null : border.take(host, n, i, given)
    if (raw === null)
      return `@${f.name}: %${i.name} is ${show(i.type)}, got ${given === undefined ? 'nothing' : border.show(given)}`
    env.values.set(i.id, n.cast(raw, dtypeOf[i.type.dtype as Plain]))
  }
  return null
}

const evaluate = (n: Nodes, r: Ready, env: Env, e: Eqn): void => {
  const kernel = kernels[e.op] as Kernel<never>
  const results = kernel({
    n,
    attrs: e.attrs as never,
    args: e.args.map((a) => env.values.get(a)!),
    parts: e.args.map((a) => env.parts.get(a) ?? {}),
    types: e.args.map((a) => r.types.get(a)!),
    outs: e.types,
  })
  const own = results.map((v) => (n.fresh(v) ? v : n.same(v)))
  n.release(own)
  e.outs.forEach((o, i) => env.values.set(o, own[i]!))
}

/** A result as f32 or i32, under an id of its own. */
const result = (n: Nodes, v: Value): Value =>
  v.dtype === DT.i32 || v.dtype === DT.f32 ? n.same(v) : n.cast(v, DT.f32)

interface Machine {
  readonly host: Host
  readonly n: Nodes
  readonly cells: ReadonlyMap<string, Cell>
}

const forget = ({ host }: Machine, env: Env, ids: ReadonlyArray<Id>): void => {
  const remove = (v: Value) => {
    if (!env.lent.has(v.id)) host.backend.binding.deleteTensor(v.id)
  }
  for (const id of ids) {
    const value = env.values.get(id)
    if (value !== undefined) remove(value)
    for (const part of Object.values(env.parts.get(id) ?? {})) remove(part)
    env.values.delete(id)
    env.parts.delete(id)
  }
}

const read = ({ host, n, cells }: Machine, env: Env, f: Fn): void => {
  for (const r of f.reads) {
    const { value, parts } = readCell(host, n, cells.get(r.state)!)
    for (const v of [...(value === null ? [] : [value]), ...Object.values(parts)])
      if (!n.fresh(v)) env.lent.add(v.id)
    if (value !== null) env.values.set(r.id, value)
    env.parts.set(r.id, parts)
  }
}

const everything = (env: Env): ReadonlyArray<Value> => [
  ...env.values.values(),
  ...[...env.parts.values()].flatMap((p) => Object.values(p)),
]

const runFn = <T>(
  m: Machine,
  r: Ready,
  border: Border<T>,
  inputs: Given<T>,
  wanted: ReadonlyArray<string> | undefined,
): E.Either<BackendError, Given<T>> => {
  const { host, n, cells } = m
  const { fn } = r
  const asked = wantedOf(fn, wanted)
  if (typeof asked === 'string') return E.left(fail(asked))
  const needed = new Set(asked.eqns)
  const env: Env = { values: new Map(), parts: new Map(), lent: new Set() }
  let where = ''
  try {
    const why = feed(host, n, fn, env, border, inputs)
    if (why !== null) return E.left(fail(why))
    read(m, env, fn)
    n.release(everything(env))
    fn.eqns.forEach((e, i) => {
      where = ` ${e.op}`
      if (needed.has(e)) evaluate(n, r, env, e)
      forget(m, env, r.dead[i]!)
    })
    where = ''
    const outs = asked.outs.map((o) => [o.name, result(n, env.values.get(o.id)!)] as const)
    // All are read before any is written: functions are pure.
    const next = fn.updates.map((u) => {
      const cell = cells.get(u.state)!
      return [cell, packedCell(n, cell, env.values.get(u.id)!)] as const
    })
    n.release([...next, ...outs].map(([, v]) => v))
    for (const [cell, v] of next) settle(host, cell, v)
    return E.right(Object.fromEntries(outs.map(([name, v]) => [name, border.give(host, v)])))
  } catch (e) {
    return E.left(
      fail(
        `@${fn.name}${where}: ${e instanceof Error ? e.message.trim() : String(e)}`,
        'this is a fault of the compiler or of TensorFlow, not of the config: please report it with the command',
      ),
    )
  } finally {
    n.release(everything(env))
    forget(m, env, [...env.values.keys(), ...env.parts.keys()])
  }
}

/** A session that also takes and gives tf.Tensors. */
export interface TfjsSession extends Session {
  /** Runs a function on int32 and float32 tensors; the caller disposes of the results, or tf.tidy does. */
  readonly call: (
    fn: string,
    inputs: Given<Tensor>,
    wanted?: ReadonlyArray<string>,
  ) => E.Either<BackendError, Given<Tensor>>
  /** A float32 or int32 state, such as a trained weight, as it is now; the caller disposes of it. */
  readonly tensor: (name: string) => E.Either<BackendError, Tensor>
}

export const openSession = (host: Host, p: Program): TfjsSession => {
  const constants = constantsOf(host.backend.binding)
  const m: Machine = {
    host,
    n: nodesOf(host.backend.binding, constants),
    cells: cellsOf(host, p),
  }
  const ready = new Map<string, Ready>()
  let open = true
  const load = (name: string): E.Either<BackendError, Ready> => {
    const fn = fnOf(p, name)
    if (fn === undefined) return E.left(fail(`no function ${name}`))
    const r = ready.get(name) ?? readyOf(p, fn)
    ready.set(name, r)
    return E.right(r)
  }
  const named = (name: string): E.Either<BackendError, Cell> =>
    pipe(
      open ? m.cells.get(name) : undefined,
      E.fromNullable(fail(open ? `no state ${name}` : 'the session is closed')),
    )
  return {
    run: (name, inputs, wanted) => async () =>
      pipe(
        load(name),
        E.chain((r) => runFn<Values>(m, r, arrays, inputs, wanted)),
      ),
    call: (name, inputs, wanted) =>
      pipe(
        load(name),
        E.chain((r) => runFn(m, r, tensors, inputs, wanted)),
      ),
    tensor: (name) =>
      pipe(
        named(name),
        E.filterOrElse(
          ({ state: { type } }) => type.dtype === 'f32' || type.dtype === 'i32',
          ({ state }) => fail(`${name} is ${noDtype(state.type)}`),
        ),
        E.map((c) => {
          const { value } = readCell(host, m.n, c)
          const own = m.n.same(value!)
          m.n.release([own])
          return host.backend.createOutputTensor(own)
        }),
      ),
    read: (name) => async () =>
      pipe(
        named(name),
        E.map((c) => contents(host, c)),
      ),
    write: (name, given) => async () =>
      pipe(
        named(name),
        E.chain((c) => {
          const why = misfit(c.state.type, given)
          if (why !== null) return E.left(fail(`${name}: ${why}`))
          return E.right(fill(host, c, given))
        }),
      ),
    close: () =>
      TE.fromIO(() => {
        if (!open) return
        open = false
        m.cells.forEach(dispose)
        constants.close()
      }),
  }
}
