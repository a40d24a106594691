/** A program on a device: one arena, every function a graph that is captured once and replayed. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { bytes } from '../../ir/type.ts'
import {
  backendError,
  type BackendError,
  type Feeds,
  type Loader,
  type Session,
} from '../backend.ts'
import { misfit } from '../bytes.ts'
import { chosenOuts } from '../wanted.ts'
import { bindAll, tune, type Device, type Put } from './bind.ts'
import { done, each, ending, inOrder, type Cuda, type CudaError } from './driver/error.ts'
import type { Gpu } from './driver/gpu.ts'
import type { Graph } from './driver/graph.ts'
import type { Pinned } from './driver/memory.ts'
import { asBackendError } from './failure.ts'
import { openLane } from './lane.ts'
import { fillInto, loadInto } from './load.ts'
import type { Lowered, LoweredFn, Port } from './lower/lower.ts'
import {
  carried,
  fetchOut,
  openStaging,
  sendInputs,
  stageInputs,
  takeOut,
  type Staging,
} from './staging.ts'

/** cuBLASLt's own scratch; more was never faster. */
export const WORKSPACE = 64 * 2 ** 20

const fail = (message: string): BackendError => backendError('cuda', message)

interface Ready {
  readonly fn: LoweredFn
  readonly graph: Graph
  readonly staging: Staging
}

/** What every run of a function does: the inputs come in, the launches run, what is small goes out. */
const whole = (d: Device, pinned: Pinned, s: Staging, puts: ReadonlyArray<Put>): Cuda<void> =>
  inOrder([
    () => sendInputs(d.gpu, d.base, pinned, s),
    ...puts,
    ...s.outs.filter(carried).map((o) => () => fetchOut(d.gpu, d.base, pinned, o)),
  ])

interface Prepared {
  readonly pinned: Pinned
  readonly constants: ReadonlyArray<Put>
  readonly fns: ReadonlyMap<string, Ready>
}

/** Binds and captures every function; the arena is clear afterwards. */
const ready = (d: Device, l: Lowered): Cuda<Prepared> =>
  pipe(
    inOrder(l.fns.map((f) => () => tune(d, f.launches))),
    E.chain(() => openStaging(d.gpu, l.fns)),
    E.chain(({ pinned, of }) =>
      pipe(
        each(l.fns, (fn) => {
          const staging = of.get(fn.name)!
          return pipe(
            bindAll(d, fn.launches),
            E.chain((puts) => d.gpu.capture(() => whole(d, pinned, staging, puts))),
            E.map((graph) => [fn.name, { fn, graph, staging }] as const),
          )
        }),
        E.map((list) => ({ pinned, fns: new Map(list) })),
      ),
    ),
    E.chainFirst(() => d.gpu.clear(d.base, l.arenaBytes)),
    E.chainFirst(() => d.gpu.synchronize()),
    E.bindTo('captured'),
    E.bind('constants', () => bindAll(d, l.constants.launches)),
    E.map(({ captured, constants }) => ({ ...captured, constants })),
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
  { pinned, fns, constants }: Prepared,
  close: () => Cuda<void>,
): CudaSession => {
  const { gpu, base } = d
  let open = true
  const at = (p: Port): bigint => base + BigInt(p.offset)
  const lifted =
    <T>(body: () => Cuda<T>) =>
    async (): Promise<E.Either<BackendError, T>> =>
      E.mapLeft(asBackendError)(body())
  const found = (name: string): E.Either<BackendError, Ready> => {
    const f = fns.get(name)
    // The staging memory is gone with the session.
    if (!open) return E.left(fail('the session is closed'))
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
  const staged = (f: Ready, inputs: Feeds): E.Either<BackendError, void> =>
    stageInputs(f.fn.name, pinned, f.staging, inputs)
  const outsOf = (
    f: Ready,
    wanted: ReadonlyArray<string> | undefined,
  ): E.Either<BackendError, Staging['outs']> => {
    const asked = chosenOuts(f.fn, wanted)
    return typeof asked === 'string'
      ? E.left(fail(asked))
      : E.right(f.staging.outs.filter((o) => asked.includes(o.port)))
  }
  const run = (f: Ready, outs: Staging['outs']): Cuda<Feeds> =>
    pipe(
      inOrder([
        settle,
        () => gpu.replay(f.graph),
        ...outs.filter((o) => !carried(o)).map((o) => () => fetchOut(gpu, base, pinned, o)),
        () => gpu.synchronize(),
      ]),
      E.map(() => Object.fromEntries(outs.map((o) => takeOut(pinned, o)))),
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
        E.chainFirst((f) => staged(f, inputs)),
        E.chain((f) =>
          E.mapLeft(asBackendError)(
            inOrder([
              settle,
              () => sendInputs(gpu, base, pinned, f.staging),
              // The next inputs may be staged as soon as this returns.
              () => gpu.synchronize(),
            ]),
          ),
        ),
      ),
    run: (name, inputs, wanted) => async () =>
      pipe(
        found(name),
        E.bindTo('f'),
        E.bind('outs', ({ f }) => outsOf(f, wanted)),
        E.chainFirst(({ f }) => staged(f, inputs)),
        E.chain(({ f, outs }) => E.mapLeft(asBackendError)(run(f, outs))),
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
    close: () => {
      open = false
      return lifted(close)
    },
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
    E.bind('prepared', ({ device }) => ready(device, l)),
    E.map(({ device, prepared }) => sessionOf(device, l, prepared, gpu.close)),
  )
  return E.isLeft(opened) ? ending(opened, gpu.close) : opened
}
