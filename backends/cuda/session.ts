/** A program on a device: one arena, every function a graph that is captured once and replayed. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { bytes, show, size, type TensorType } from '../../ir/type.ts'
import {
  backendError,
  type BackendError,
  type Feeds,
  type Loader,
  type Session,
  type Values,
} from '../backend.ts'
import { decodeF32, misfit } from '../bytes.ts'
import { bindAll, tune, type Device, type Put } from './bind.ts'
import { done, each, inOrder, ending, type Cuda, type CudaError } from './driver/error.ts'
import type { Gpu } from './driver/gpu.ts'
import type { Graph } from './driver/graph.ts'
import { asBackendError } from './failure.ts'
import { openLane } from './lane.ts'
import { fillInto, loadInto } from './load.ts'
import type { Lowered, LoweredFn, Port } from './lower/lower.ts'

/** cuBLASLt's own scratch; more was never faster. */
export const WORKSPACE = 64 * 2 ** 20

const fail = (message: string): BackendError => backendError('cuda', message)

/** A value as the caller gets it: i32 as it is, everything else as f32. */
const valuesOf = (t: TensorType, stored: Uint8Array): Values =>
  t.dtype === 'i32'
    ? new Int32Array(stored.buffer, stored.byteOffset, size(t))
    : decodeF32(t, stored)

const bytesOfValues = (x: Values): Uint8Array =>
  new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

const feedOf = (f: LoweredFn, port: Port, inputs: Feeds): E.Either<BackendError, Uint8Array> => {
  const given = inputs[port.name]
  if (given === undefined || given.length !== size(port.type))
    return E.left(
      fail(
        `@${f.name}: %${port.name} is ${show(port.type)}, got ${given === undefined ? 'nothing' : `${given.length} values`}`,
      ),
    )
  const typed = port.type.dtype === 'i32' ? Int32Array.from(given) : Float32Array.from(given)
  return E.right(bytesOfValues(typed))
}

interface ReadyFn {
  readonly fn: LoweredFn
  readonly graph: Graph
}
interface Ready {
  readonly fns: ReadonlyMap<string, ReadyFn>
  readonly constants: ReadonlyArray<Put>
}

/** Binds and captures every function; the arena is clear afterwards. */
const ready = (d: Device, l: Lowered): Cuda<Ready> =>
  pipe(
    inOrder(l.fns.map((f) => () => tune(d, f.launches))),
    E.chain(() =>
      each(l.fns, (fn) =>
        pipe(
          bindAll(d, fn.launches),
          E.chain((puts) => d.gpu.capture(() => inOrder(puts))),
          E.map((graph) => [fn.name, { fn, graph }] as const),
        ),
      ),
    ),
    E.chainFirst(() => d.gpu.clear(d.base, l.arenaBytes)),
    E.chainFirst(() => d.gpu.synchronize()),
    E.bindTo('list'),
    E.bind('constants', () => bindAll(d, l.constants.launches)),
    E.map(({ list, constants }) => ({ fns: new Map(list), constants })),
  )

export interface CudaSession extends Session {
  readonly device: Device
  readonly lowered: Lowered
  /** Puts inputs where the function reads them; its temporaries may lie over them afterwards. */
  readonly feed: (fn: string, inputs: Feeds) => E.Either<BackendError, void>
}

const sessionOf = (
  d: Device,
  l: Lowered,
  { fns, constants }: Ready,
  close: () => Cuda<void>,
): CudaSession => {
  const { gpu, base } = d
  const at = (p: Port): bigint => base + BigInt(p.offset)
  const lifted =
    <T>(body: () => Cuda<T>) =>
    async (): Promise<E.Either<BackendError, T>> =>
      E.mapLeft(asBackendError)(body())
  const outOf = (p: Port): Cuda<readonly [string, Values]> => {
    const stored = new Uint8Array(bytes(p.type))
    return pipe(
      gpu.copyOut(stored, at(p)),
      E.map(() => [p.name, valuesOf(p.type, stored)] as const),
    )
  }
  const found = (name: string): E.Either<BackendError, ReadyFn> => {
    const f = fns.get(name)
    return f === undefined ? E.left(fail(`no function ${name}`)) : E.right(f)
  }
  // Constants follow from state that is written from outside alone.
  let stale = true
  const settle = (): Cuda<void> =>
    stale
      ? pipe(
          inOrder(constants),
          E.map(() => {
            stale = false
          }),
        )
      : done
  const touch = (name: string): void => {
    stale ||= l.constants.of.has(name)
  }
  const feed = (f: LoweredFn, inputs: Feeds): E.Either<BackendError, void> =>
    pipe(
      E.mapLeft(asBackendError)(settle()),
      E.map(() => f.inputs),
      E.chain(
        E.traverseArray((p) =>
          pipe(
            feedOf(f, p, inputs),
            E.map((b) => [p, b] as const),
          ),
        ),
      ),
      E.chain((fed) =>
        E.mapLeft(asBackendError)(
          inOrder(
            fed.map(
              ([p, b]) =>
                () =>
                  gpu.copyIn(at(p), b),
            ),
          ),
        ),
      ),
    )
  const named = (name: string): E.Either<BackendError, Port> => {
    const s = l.state.get(name)
    return s === undefined ? E.left(fail(`no state ${name}`)) : E.right(s)
  }
  return {
    device: d,
    lowered: l,
    feed: (name, inputs) =>
      pipe(
        found(name),
        E.chain((f) => feed(f.fn, inputs)),
      ),
    run: (name, inputs) => async () =>
      pipe(
        found(name),
        E.chainFirst((f) => feed(f.fn, inputs)),
        E.chain((f) =>
          pipe(
            gpu.replay(f.graph),
            E.chain(() => gpu.synchronize()),
            E.chain(() => each(f.fn.outs, outOf)),
            E.bimap(asBackendError, (list): Feeds => Object.fromEntries(list)),
          ),
        ),
      ),
    read: (name) => async () =>
      pipe(
        named(name),
        E.chain((p) => {
          const stored = new Uint8Array(bytes(p.type))
          return pipe(
            gpu.copyOut(stored, at(p)),
            E.bimap(asBackendError, () => stored),
          )
        }),
      ),
    write: (name, given) => async () =>
      pipe(
        named(name),
        E.chain((p) => {
          touch(name)
          const why = misfit(p.type, given)
          return why === null
            ? E.mapLeft(asBackendError)(gpu.copyIn(at(p), given))
            : E.left(fail(`${name}: ${why}`))
        }),
      ),
    loader: () => async () =>
      pipe(
        openLane(d),
        E.bimap(asBackendError, (lane): Loader => {
          const load = loadInto(lane, l)
          return {
            load: (name, stored) =>
              pipe(
                TE.fromEither(named(name)),
                TE.chainW((port) => {
                  touch(name)
                  return load(port, stored)
                }),
              ),
            fill: (name, value) =>
              TE.fromEither(
                pipe(
                  named(name),
                  E.chain((port) => {
                    touch(name)
                    return E.mapLeft(asBackendError)(fillInto(lane, port, value))
                  }),
                ),
              ),
            close: () => lifted(lane.close),
          }
        }),
      ),
    close: () => lifted(close),
  }
}

/** Takes the arena from the device and makes every function ready to run. Left: what failed, with all given back. */
export const openSession = (gpu: Gpu, l: Lowered): Cuda<CudaSession> => {
  const opened = pipe(
    E.Do,
    E.bind('workspace', () => gpu.allocate(WORKSPACE)),
    E.bind('base', () => gpu.allocate(l.arenaBytes)),
    E.bind('products', ({ workspace }) => gpu.products({ address: workspace, bytes: WORKSPACE })),
    E.bind('device', ({ products, base }) => E.right<CudaError, Device>({ gpu, products, base })),
    E.bind('made', ({ device }) => ready(device, l)),
    E.map(({ device, made }) => sessionOf(device, l, made, gpu.close)),
  )
  return E.isLeft(opened) ? ending(opened, gpu.close) : opened
}
