/** The plugin with host memory standing in for the device: a fake driver under it, and the kernels' own sources emulated when a graph is launched. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import koffi from 'koffi'
import type { Backend, Session } from '../backends/backend.ts'
import { done, type Cuda } from '../backends/cuda/driver/error.ts'
import { openGpu, type Gpu } from '../backends/cuda/driver/gpu.ts'
import type { Kernel, KernelLaunch } from '../backends/cuda/launch.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { asBackendError } from '../backends/cuda/failure.ts'
import { openSession } from '../backends/cuda/session.ts'
import { sourceOf } from '../backends/cuda/sources.ts'
import { launchedByOps, tfHost, type TfHost } from '../backends/tfjs/device.ts'
import { load, type Host } from '../backends/tfjs/load.ts'
import type { Inside } from '../backends/tfjs/tensors.ts'
import type { Program } from '../ir/graph.ts'
import { find, whereOf } from '../backends/tfjs/places.ts'
import { fake, folder, missing, only } from './cuda-fake.ts'
import { emulate, noCompiler } from './cuda/emulate.ts'
import { right } from './right.ts'

const why = (): string | false => {
  if (noCompiler !== false || missing !== null) return noCompiler || missing || false
  const found = find(whereOf(process.env, process.cwd()))
  if ('why' in found) return `no TensorFlow here: ${found.why}`
  return found.home.plugin !== null && fs.existsSync(found.home.plugin)
    ? false
    : 'the plugin is not built: npm run setup:tfjs'
}
export const noPlugin = why()

export const MEMORY = 2 ** 33

let host: Host | null = null
/** TensorFlow with the fake's GPU; in this process for good. */
export const fakeHost = (): Host => {
  if (host === null) {
    fake().reset(1, 13000, MEMORY)
    host = right(load(whereOf(process.env, process.cwd()), only(folder)))
  }
  return host
}

export const newTfHost = (): TfHost => right(tfHost(fakeHost(), fakeHost().plugin!))

/** What a graph does when it is launched, in order. */
const graphs = new Map<bigint, ReadonlyArray<() => void>>()
let handles = 0n

/** Runs on the thread that launches: TensorFlow computes an op where it is asked for. */
const launched = (exec: bigint | number): void => {
  for (const act of graphs.get(BigInt(exec))!) act()
}

/** Files of kernels by the text that is compiled of them. */
const fileOf = new Map(
  fs
    .readdirSync(path.join(import.meta.dirname, '..', 'backends', 'cuda', 'kernels'))
    .filter((f) => f.endsWith('.cu'))
    .map((f) => [sourceOf(f), f]),
)

/** A kernel and its arguments travel as themselves through what a driver would make of them. */
interface Packed {
  readonly base: bigint
  readonly args: KernelLaunch['args']
}

/** Kernels are emulated where they are launched; a capture keeps what is put on the stream, a launch of the graph does it. */
const emulating = (gpu: Gpu, bytesAt: (base: bigint) => number): Gpu => {
  let recording: Array<() => void> | null = null
  const put = (act: () => void): Cuda<void> => {
    if (recording === null) act()
    else recording.push(act)
    return done
  }
  const deferred =
    <A extends ReadonlyArray<unknown>>(f: (...a: A) => Cuda<void>) =>
    (...a: A): Cuda<void> =>
      put(() => right(f(...a)))
  const emulated = (
    kernel: Kernel,
    l: Pick<KernelLaunch, 'grid' | 'block' | 'shared'>,
    p: Packed,
  ) => {
    const arena = Buffer.from(koffi.view(p.base, bytesAt(p.base)) as ArrayBuffer)
    emulate(arena, [{ _tag: 'kernel', kernel, ...l, args: p.args, bytes: 0, flops: 0 }])
  }
  return {
    ...gpu,
    module: (source, defines, needs) =>
      E.right({
        fn: (name: string) => E.right({ source: fileOf.get(source)!, name, defines, needs }),
      } as never),
    pack: (base, args) => E.right({ base, args } as never),
    allowShared: () => done,
    launch: (f, grid, [block], shared, p) =>
      put(() => emulated(f as never, { grid, block, shared }, p as never)),
    send: deferred(gpu.send),
    fetch: deferred(gpu.fetch),
    copyWithin: deferred(gpu.copyWithin),
    clear: deferred(gpu.clear),
    products: () =>
      E.right({ tune: () => done, plan: () => E.right(null), close: () => done } as never),
    capture: (body) => {
      const acts: Array<() => void> = []
      recording = acts
      const put = body()
      recording = null
      return pipe(
        put,
        E.map(() => {
          graphs.set(++handles, acts)
          return { exec: handles, nodes: acts.length }
        }),
      )
    },
  }
}

/** As `compiledInside`, with kernels emulated. */
export const compiledOnHostMemory = (p: Program): Cuda<Inside> => {
  const tf = newTfHost()
  fake().onLaunch(koffi.register(launched, koffi.pointer('fake_launched')))
  const gpu = right(openGpu(tf, { cacheDir: null, where: only(folder) }))
  const sizes = new Map<bigint, number>()
  const noted: Gpu = {
    ...gpu,
    allocate: (bytes) =>
      pipe(
        gpu.allocate(bytes),
        E.map((a) => {
          sizes.set(a, bytes)
          return a
        }),
      ),
  }
  const emulated = emulating(noted, (base) => sizes.get(base)!)
  const lowered = lower(p, { arch: 75, sms: 40, shared: 65536 })
  return pipe(
    openSession(launchedByOps(emulated, tf), lowered),
    E.map((session): Inside => ({ tf, session, graphs: new Map() })),
  )
}

export const onHostMemory: Backend = {
  name: 'tfjs plugin on host memory',
  doc: 'compiled plans inside TensorFlow, without a GPU',
  diagnose: async () => noPlugin || null,
  prepare: (p) => async () =>
    pipe(
      compiledOnHostMemory(p),
      E.bimap(asBackendError, ({ session }): Session => session),
    ),
}
