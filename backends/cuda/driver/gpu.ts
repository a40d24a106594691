/** The GPU as a session uses it: kernels, products, copies and graphs on one stream, every resource counted. */
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Arg, Kernel } from '../launch.ts'
import { type Arch, archFor, capabilityOf } from './arch.ts'
import { type BlasLt, openBlasLt, type Workspace } from './blaslt.ts'
import { openChoices } from './choices.ts'
import type { DeviceInfo } from './device.ts'
import { handle, versionText } from './driver.ts'
import { type Cuda, type CudaError, cudaError, done, ending, inOrder, OWN } from './error.ts'
import { capture, destroyGraph, type Graph, replay } from './graph.ts'
import { holding, type Kind } from './held.ts'
import type { Host } from './host.ts'
import {
  allowShared,
  type Extent,
  type KernelFunction,
  launchKernel,
  overlapping,
} from './launch.ts'
import { type Kernels, moduleLoader } from './kernels.ts'
import { guarded } from './lost.ts'
import * as memory from './memory.ts'
import { type Defines, type Nvrtc, openNvrtc } from './nvrtc.ts'
import { pack, type Params } from './params.ts'
import type { Where } from './places.ts'
import { openProducts, type Products } from './products.ts'
import { times } from './timing.ts'

export interface Options {
  /** Where compiled kernels and choices are kept; null keeps none. */
  readonly cacheDir: string | null
  readonly where: Where
  /** `compute_75` runs the Turing code on a newer card; the card's own where absent. */
  readonly arch?: Arch
}

export interface Gpu {
  readonly info: DeviceInfo
  readonly arch: Arch
  readonly nvrtc: Nvrtc
  readonly stream: bigint
  readonly allocate: (bytes: number) => Cuda<bigint>
  readonly free: (address: bigint) => Cuda<void>
  readonly memory: () => Cuda<memory.Room>
  readonly pinned: (bytes: number) => Cuda<memory.Pinned>
  readonly freePinned: (p: memory.Pinned) => Cuda<void>
  /** Copies that wait for the stream. */
  readonly copyIn: (to: bigint, bytes: Uint8Array) => Cuda<void>
  readonly copyOut: (bytes: Uint8Array, from: bigint) => Cuda<void>
  /** Copies from and to pinned memory that do not wait; a fence tells when they are done. */
  readonly send: (to: bigint, p: memory.Pinned, offset: number, length: number) => Cuda<void>
  readonly fetch: (p: memory.Pinned, offset: number, from: bigint, length: number) => Cuda<void>
  readonly copyWithin: (to: bigint, from: bigint, length: number) => Cuda<void>
  readonly clear: (at: bigint, length: number) => Cuda<void>
  /** Compiles and loads a source once for its macros. */
  readonly module: (source: string, defines: Defines, needs: Kernel['needs']) => Cuda<Kernels>
  readonly pack: (base: bigint, args: ReadonlyArray<Arg>) => Cuda<Params>
  /** Raises a kernel's limit of shared memory; a launch does so too, but not within a capture. */
  readonly allowShared: (f: KernelFunction, bytes: number) => Cuda<void>
  readonly launch: (
    f: KernelFunction,
    grid: Extent,
    block: Extent,
    shared: number,
    p: Params,
    early?: boolean,
  ) => Cuda<void>
  /** Matrix products by cuBLASLt, with a workspace of the caller's. */
  readonly products: (workspace: Workspace) => Cuda<Products>
  readonly synchronize: () => Cuda<void>
  /** Waits until all that is on the stream now is done. */
  readonly fence: () => Cuda<() => Cuda<void>>
  readonly capture: (body: () => Cuda<unknown>) => Cuda<Graph>
  readonly replay: (g: Graph) => Cuda<void>
  readonly destroy: (g: Graph) => Cuda<void>
  /** Milliseconds on the device of each piece of work. */
  readonly times: (bodies: ReadonlyArray<() => Cuda<unknown>>) => Cuda<ReadonlyArray<number>>
  readonly time: (body: () => Cuda<unknown>) => Cuda<number>
  readonly lost: () => CudaError | null
  readonly live: () => Readonly<Record<Kind | 'plans', number>>
  /** What the caches could not do. */
  readonly notices: () => ReadonlyArray<string>
  /** Gives everything back, the host too. */
  readonly close: () => Cuda<void>
}

const archOf = (host: Host, nvrtc: Nvrtc, wanted: Arch | undefined): Cuda<Arch> =>
  pipe(
    wanted === undefined ? archFor(host.info.capability, nvrtc.supported) : E.right(wanted),
    E.filterOrElse(
      (a) => !Number.isNaN(capabilityOf(a)),
      (a) => cudaError('arch', OWN, 'UNKNOWN_ARCH', `"${a}", expected sm_80, sm_90a or compute_75`),
    ),
    // PTX must not be newer than the driver; a cubin of the same major version may be.
    E.filterOrElse(
      (a) => {
        const [n, d] = [nvrtc.version, host.driver.version]
        return !a.startsWith('compute_') || n.major < d.major || n.minor <= d.minor
      },
      (a) =>
        cudaError(
          'arch',
          OWN,
          'DRIVER_TOO_OLD',
          `PTX for ${a} of NVRTC ${versionText(nvrtc.version)} does not load in a driver of CUDA ${versionText(host.driver.version)}`,
          'update the NVIDIA driver, or run `npm run setup:cuda`, which fetches the NVRTC of its version',
        ),
    ),
  )

/** cuBLASLt, loaded at the first product. */
const products = (host: Host, driver: Host['driver'], o: Options) => {
  let lt: BlasLt | null = null
  const opened: Array<Products> = []
  const stores: Array<ReturnType<typeof openChoices>> = []
  const library = (): Cuda<BlasLt> =>
    lt !== null
      ? E.right(lt)
      : pipe(
          openBlasLt(o.where, host.driver.version),
          E.map((made) => (lt = made)),
        )
  return {
    open: (workspace: Workspace): Cuda<Products> =>
      pipe(
        library(),
        E.map((l) => {
          const store = openChoices(o.cacheDir, host.info.name, l.version.text)
          const made = openProducts(driver, host.stream, l, workspace, store)
          stores.push(store)
          opened.push(made)
          return made
        }),
      ),
    plans: () => opened.reduce((n, p) => n + p.count(), 0),
    notices: () => stores.flatMap((s) => s.notices()),
    close: (): Cuda<void> => {
      const closed = inOrder(opened.map((p) => p.close))
      const destroyed = lt === null ? done : lt.close()
      lt = null
      return ending(closed, () => destroyed)
    },
  }
}

const assemble = (host: Host, nvrtc: Nvrtc, arch: Arch, o: Options): Gpu => {
  const { driver, lost, alive } = guarded(host.driver)
  const { stream, info } = host
  const held = holding()
  const sizes = new Map<bigint, number>()
  const total = () => [...sizes.values()].reduce((a, b) => a + b, 0)
  const blas = products(host, driver, o)
  const folder = o.cacheDir === null ? null : path.join(o.cacheDir, 'kernels')
  const load = moduleLoader(driver, held, nvrtc, arch, folder)
  const overlaps = overlapping(driver.version, info.capability)
  let closed: Cuda<void> | null = null

  const fence = (): Cuda<() => Cuda<void>> =>
    pipe(
      held.keep(
        'fences',
        handle((out) => driver.call('cuEventCreate', out, 0)),
        (e) => e,
        (e) => driver.call('cuEventDestroy_v2', e),
      ),
      E.chainFirst((e) => driver.call('cuEventRecord', e, stream)),
      E.map(
        (e) => () => ending(driver.call('cuEventSynchronize', e), () => held.drop('fences', e)),
      ),
    )

  /** After a loss nothing can be given back but the context; that is no error of closing. */
  const close = (): Cuda<void> => {
    const waited = lost() === null ? driver.call('cuStreamSynchronize', stream) : done
    const ends = [blas.close(), held.dropAll(), host.close(), waited]
    sizes.clear()
    return lost() === null ? (ends.find(E.isLeft) ?? done) : done
  }

  return {
    info,
    arch,
    nvrtc,
    stream,
    allocate: (bytes) =>
      pipe(
        held.keep(
          'allocations',
          alive(() => host.allocate(bytes)),
          (a) => a,
          host.free,
        ),
        E.map((a) => {
          sizes.set(a, bytes)
          return a
        }),
        E.mapLeft((e) => memory.outOfMemory(e, bytes, total(), memory.roomOf(driver))),
      ),
    free: (a) => {
      sizes.delete(a)
      return alive(() => held.drop('allocations', a))
    },
    memory: () => memory.roomOf(driver),
    pinned: (bytes) =>
      held.keep(
        'pinned',
        memory.allocatePinned(driver, bytes),
        (p) => p.address,
        (p) => driver.call('cuMemFreeHost', p.address),
      ),
    freePinned: (p) => held.drop('pinned', p.address),
    copyIn: (to, bytes) => memory.copyIn(driver, stream, to, bytes),
    copyOut: (bytes, from) => memory.copyOut(driver, stream, bytes, from),
    send: (to, p, offset, length) => memory.sendPinned(driver, stream, to, p, offset, length),
    fetch: (p, offset, from, length) => memory.fetchPinned(driver, stream, p, offset, from, length),
    copyWithin: (to, from, length) => memory.copyWithin(driver, stream, to, from, length),
    clear: (at, length) => memory.clear(driver, stream, at, length),
    module: (source, defines, needs) => alive(() => load(source, defines, needs)),
    pack: (base, args) => pack(driver, base, args),
    allowShared: (f, bytes) => allowShared(driver, f, bytes),
    launch: (f, grid, block, shared, p, early = false) =>
      launchKernel(driver, stream, f, grid, block, shared, p, early && overlaps),
    products: (workspace) => alive(() => blas.open(workspace)),
    synchronize: () => driver.call('cuStreamSynchronize', stream),
    fence,
    capture: (body) =>
      held.keep(
        'graphs',
        capture(driver, stream, body),
        (g) => g.exec,
        (g) => destroyGraph(driver, g),
      ),
    replay: (g) => replay(driver, stream, g),
    destroy: (g) => held.drop('graphs', g.exec),
    times: (bodies) => times(driver, stream, bodies),
    time: (body) =>
      pipe(
        times(driver, stream, [body]),
        E.map(([ms]) => ms!),
      ),
    lost,
    live: () => ({ ...held.counts(), plans: blas.plans() }),
    notices: blas.notices,
    close: () => (closed ??= close()),
  }
}

/** Opens a host's GPU with the compiler for it; a failure leaves the host to its owner. */
export const openGpu = (host: Host, o: Options): Cuda<Gpu> =>
  pipe(
    host.enter(),
    E.chain(() => openNvrtc(o.where, host.driver.version)),
    E.bindTo('nvrtc'),
    E.bind('arch', ({ nvrtc }) => archOf(host, nvrtc, o.arch)),
    E.map(({ nvrtc, arch }) => assemble(host, nvrtc, arch, o)),
  )
