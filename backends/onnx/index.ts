/** The embedded CPU engine: every function of a program is an ONNX model that onnxruntime-node runs. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Fn, Program } from '../../ir/graph.ts'
import { fnOf, typesOf } from '../../ir/graph.ts'
import { show, size, type Plain, type TensorType } from '../../ir/type.ts'
import {
  backendError,
  type Backend,
  type BackendError,
  type Feeds,
  type Session,
  type Values,
} from '../backend.ts'
import { misfit } from '../bytes.ts'
import { chosenOuts } from '../wanted.ts'
import { cachesOf, type CacheWrites } from './cache.ts'
import { elementType, emit, nextName, returnedType } from './emit.ts'
import { cellsOf, contents, fill, landing, settle, viewOf, type Cell } from './memory.ts'
import {
  loadRuntime,
  type BorderType,
  type Runtime,
  type Session as Model,
  type Tensor,
} from './session.ts'

const fail = (message: string): BackendError => backendError('onnx', message)

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
  readonly run: (
    inputs: Feeds,
    wanted: ReadonlyArray<string> | undefined,
  ) => TE.TaskEither<BackendError, Feeds>
  readonly close: TE.TaskEither<BackendError, void>
}

const compiled = (
  rt: Runtime,
  p: Program,
  f: Fn,
  model: Model,
  cells: ReadonlyMap<string, Cell>,
  writes: CacheWrites,
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
    run: (inputs, wanted) =>
      pipe(
        TE.fromEither(input(inputs)),
        TE.chainEitherK((fed) => {
          const asked = chosenOuts(f, wanted)
          return typeof asked === 'string' ? E.left(fail(asked)) : E.right([fed, asked] as const)
        }),
        TE.chain(([fed, asked]) => {
          const feeds = Object.assign(
            fed,
            ...f.reads.map((r) => cells.get(r.state)!.now.feeds),
          ) as Record<string, Tensor>
          const outs = asked.map((o) => [o.name, output(rt, types.get(o.id)!)] as const)
          const fetches: Record<string, Tensor> = Object.fromEntries(
            outs.map(([name, o]) => [name, o.tensor]),
          )
          for (const u of f.updates) {
            const write = writes.get(u.id)
            const type = types.get(write?.rows ?? u.id)!
            fetches[nextName(u.state)] = landing(rt, cells.get(u.state)!, write, type)
          }
          return pipe(
            model.run(feeds, fetches),
            TE.map(() => {
              for (const u of f.updates) {
                const at = writes.get(u.id)?.positions
                const positions = at === undefined ? undefined : inputs[at]
                settle(cells.get(u.state)!, fetches[nextName(u.state)]!, positions)
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
  const caches = cachesOf(p)
  const cells = cellsOf(rt, p, caches)
  const open = new Map<string, Compiled>()
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
        const made = compiled(rt, p, f, m, cells, caches.writes(f))
        open.set(name, made)
        return made
      }),
    )
  }
  const cellOf = (name: string): TE.TaskEither<BackendError, Cell> =>
    pipe(cells.get(name), TE.fromNullable(fail(`no state ${name}`)))
  return {
    run: (name, inputs, wanted) =>
      pipe(
        load(name),
        TE.chain((f) => f.run(inputs, wanted)),
      ),
    read: (name) => pipe(cellOf(name), TE.map(contents)),
    write: (name, given) =>
      pipe(
        cellOf(name),
        TE.chain((cell) => {
          const why = misfit(cell.state.type, given)
          if (why !== null) return TE.left(fail(`${name}: ${why}`))
          fill(cell, given)
          return TE.right(undefined)
        }),
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
