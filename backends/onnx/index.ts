/** The embedded CPU engine: every function of a program is an ONNX model that onnxruntime-node runs. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Fn, Program, State } from '../../ir/graph.ts'
import { fnOf, stateOf, typesOf } from '../../ir/graph.ts'
import { bytes, isEncoded, parts, show, size, type Plain, type TensorType } from '../../ir/type.ts'
import {
  backendError,
  type Backend,
  type BackendError,
  type Feeds,
  type Session,
  type Values,
} from '../backend.ts'
import { misfit } from '../bytes.ts'
import { elementType, emit, nextName, returnedType } from './emit.ts'
import { partName } from './quant.ts'
import {
  loadRuntime,
  type BorderType,
  type Runtime,
  type Session as Model,
  type Tensor,
} from './session.ts'

const fail = (message: string): BackendError => backendError('onnx', message)

/** Memory of a plain dtype as the array type onnxruntime wants. */
const viewOf = (dtype: Plain, memory: ArrayBuffer, at: number, count: number) => {
  const make = {
    f32: () => new Float32Array(memory, at, count),
    f16: () => new Uint16Array(memory, at, count),
    bf16: () => new Uint16Array(memory, at, count),
    i32: () => new Int32Array(memory, at, count),
    i8: () => new Int8Array(memory, at, count),
    u8: () => new Uint8Array(memory, at, count),
    bool: () => new Uint8Array(memory, at, count),
  } satisfies { [K in Plain]: () => unknown }
  return make[dtype]()
}

/** A state tensor: its bytes, and the tensors over them that models are fed. */
interface Slot {
  readonly memory: ArrayBuffer
  readonly feeds: Readonly<Record<string, Tensor>>
}

const slotOf = (rt: Runtime, s: State): Slot => {
  const memory = new ArrayBuffer(bytes(s.type))
  const tensorAt = (
    dtype: Plain,
    shape: ReadonlyArray<number>,
    at: number,
    count: number,
  ): Tensor => rt.tensor(elementType[dtype] as BorderType, shape, viewOf(dtype, memory, at, count))
  if (!isEncoded(s.type.dtype))
    return { memory, feeds: { [s.name]: tensorAt(s.type.dtype, s.type.shape, 0, size(s.type)) } }
  return {
    memory,
    feeds: Object.fromEntries(
      parts(s.type).map((p) => [
        partName(s.name, p.name),
        tensorAt(p.dtype, p.name === 'offset' ? [] : [p.count], p.at, p.count),
      ]),
    ),
  }
}

/** State that some function updates has two slots: one is read while the other is written. */
interface Cell {
  now: Slot
  next: Slot | null
}

const cellsOf = (rt: Runtime, p: Program): ReadonlyMap<string, Cell> => {
  const changed = new Set(p.fns.flatMap((f) => f.updates.map((u) => u.state)))
  return new Map(
    p.state.map((s) => [
      s.name,
      { now: slotOf(rt, s), next: changed.has(s.name) ? slotOf(rt, s) : null },
    ]),
  )
}

const output = (
  rt: Runtime,
  t: TensorType,
): { readonly values: Values; readonly tensor: Tensor } => {
  const element = returnedType(t)
  const dtype = element === 'float32' ? 'f32' : (t.dtype as Plain)
  const data = viewOf(dtype, new ArrayBuffer(4 * size(t)), 0, size(t))
  return { values: data as Values, tensor: rt.tensor(element as BorderType, t.shape, data) }
}

/** One function, compiled when it is first run. */
interface Compiled {
  readonly run: (inputs: Feeds) => TE.TaskEither<BackendError, Feeds>
  readonly close: TE.TaskEither<BackendError, void>
}

const compiled = (
  rt: Runtime,
  p: Program,
  f: Fn,
  model: Model,
  cells: ReadonlyMap<string, Cell>,
): Compiled => {
  const types = typesOf(p, f)
  const input = (inputs: Feeds): E.Either<BackendError, Record<string, Tensor>> => {
    const fed: Record<string, Tensor> = {}
    for (const i of f.inputs) {
      const given = inputs[i.name]
      if (given === undefined || given.length !== size(i.type))
        return E.left(
          fail(
            `@${f.name}: %${i.name} is ${show(i.type)}, got ${given === undefined ? 'nothing' : `${given.length} values`}`,
          ),
        )
      fed[i.name] = rt.tensor(elementType[i.type.dtype as Plain] as BorderType, i.type.shape, given)
    }
    return E.right(fed)
  }
  return {
    close: model.close,
    run: (inputs) =>
      pipe(
        TE.fromEither(input(inputs)),
        TE.chain((fed) => {
          const feeds = Object.assign(
            fed,
            ...f.reads.map((r) => cells.get(r.state)!.now.feeds),
          ) as Record<string, Tensor>
          const outs = f.outs.map((o) => [o.name, output(rt, types.get(o.id)!)] as const)
          const fetches: Record<string, Tensor> = Object.fromEntries(
            outs.map(([name, o]) => [name, o.tensor]),
          )
          for (const u of f.updates)
            fetches[nextName(u.state)] = cells.get(u.state)!.next!.feeds[u.state]!
          return pipe(
            model.run(feeds, fetches),
            TE.map(() => {
              for (const u of f.updates) {
                const cell = cells.get(u.state)!
                ;[cell.now, cell.next] = [cell.next!, cell.now]
              }
              return Object.fromEntries(
                outs.map(([name, o]) => [
                  name,
                  o.values.constructor === Uint8Array ? Float32Array.from(o.values) : o.values,
                ]),
              )
            }),
          )
        }),
      ),
  }
}

export interface OnnxOptions {
  /** Threads inside one operator; 0 is one a physical core. */
  readonly threads: number
  /** Given every emitted model, for saving. */
  readonly onModel?: (fn: string, bytes: Uint8Array) => void
}

const session = (rt: Runtime, p: Program, o: OnnxOptions): Session => {
  const cells = cellsOf(rt, p)
  const open = new Map<string, Compiled>()
  const states = stateOf(p)
  const load = (name: string): TE.TaskEither<BackendError, Compiled> => {
    const known = open.get(name)
    const f = fnOf(p, name)
    if (known !== undefined) return TE.right(known)
    if (f === undefined) return TE.left(fail(`no function ${name}`))
    const model = emit(p, f)
    o.onModel?.(name, model)
    return pipe(
      rt.open(model, { threads: o.threads }),
      TE.map((m) => {
        const made = compiled(rt, p, f, m, cells)
        open.set(name, made)
        return made
      }),
    )
  }
  const memory = (name: string): E.Either<BackendError, Uint8Array> => {
    const cell = cells.get(name)
    return cell === undefined
      ? E.left(fail(`no state ${name}`))
      : E.right(new Uint8Array(cell.now.memory))
  }
  return {
    run: (name, inputs) =>
      pipe(
        load(name),
        TE.chain((f) => f.run(inputs)),
      ),
    read: (name) =>
      TE.fromEither(
        pipe(
          memory(name),
          E.map((m) => m.slice()),
        ),
      ),
    write: (name, given) =>
      TE.fromEither(
        pipe(
          memory(name),
          E.chain((m) => {
            const why = misfit(states.get(name)!.type, given)
            if (why !== null) return E.left(fail(`${name}: ${why}`))
            m.set(given)
            return E.right(undefined)
          }),
        ),
      ),
    close: () =>
      pipe(
        [...open.values()],
        TE.traverseSeqArray((f) => f.close),
        TE.map(() => undefined),
      ),
  }
}

export const onnxWith = (o: OnnxOptions): Backend => ({
  name: 'onnx',
  doc: 'the embedded CPU engine: each function an ONNX model run by onnxruntime-node',
  diagnose: async () => {
    const loaded = await loadRuntime()
    return E.isRight(loaded) ? null : `${loaded.left.message}; ${loaded.left.hint ?? ''}`
  },
  prepare: (p) =>
    pipe(
      loadRuntime,
      TE.map((rt) => session(rt, p, o)),
    ),
})

export const onnx: Backend = onnxWith({ threads: 0 })
