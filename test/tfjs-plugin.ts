/** The plugin with host memory standing in for the device: a fake driver under it, and the kernels' own sources emulated when a graph is launched. */
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import koffi from 'koffi'
import type { Backend, Session } from '../backends/backend.ts'
import { done, type Cuda } from '../backends/cuda/driver/error.ts'
import { openGpu, type Gpu } from '../backends/cuda/driver/gpu.ts'
import { lower, type Lowered } from '../backends/cuda/lower/lower.ts'
import { asBackendError } from '../backends/cuda/failure.ts'
import { openSession } from '../backends/cuda/session.ts'
import { launchedByOps, tfHost, type TfHost } from '../backends/tfjs/device.ts'
import { load, type Host } from '../backends/tfjs/load.ts'
import type { Inside } from '../backends/tfjs/tensors.ts'
import type { Program } from '../ir/graph.ts'
import { find, whereOf } from '../backends/tfjs/places.ts'
import { fake, folder, missing, only } from './cuda-fake.ts'
import { perform } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
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

/** What was captured for a session, and where its arena lies. */
interface Captured {
  readonly lowered: Lowered
  readonly base: () => bigint
  readonly index: number
}
const graphs = new Map<bigint, Captured>()
let handles = 0n

/** Runs on the thread that launches: TensorFlow computes an op where it is asked for. */
const run = (exec: bigint | number): void => {
  const { lowered, base, index } = graphs.get(BigInt(exec))!
  const arena = Buffer.from(koffi.view(base(), lowered.arenaBytes) as ArrayBuffer)
  for (const l of lowered.fns[index]!.launches) perform(arena, l)
}

/** Kernels are not compiled: a capture only notes which function it is of. */
const emulating = (gpu: Gpu, lowered: Lowered, base: () => bigint): Gpu => {
  let index = 0
  return {
    ...gpu,
    module: () => E.right({ fn: () => E.right({}) } as never),
    pack: () => E.right({} as never),
    allowShared: () => done,
    launch: () => done,
    products: () =>
      E.right({ tune: () => done, plan: () => E.right(null), close: () => done } as never),
    capture: (body) =>
      pipe(
        body(),
        E.map(() => {
          const exec = ++handles
          graphs.set(exec, { lowered, base, index: index++ })
          return { exec, nodes: 1 }
        }),
      ),
  }
}

/** As `compiledInside`, with kernels emulated. */
export const compiledOnHostMemory = (p: Program): Cuda<Inside> => {
  const tf = newTfHost()
  fake().onLaunch(koffi.register(run, koffi.pointer('fake_launched')))
  const gpu = right(openGpu(tf, { cacheDir: null, where: only(folder) }))
  const lowered = lower(p, { arch: 75, sms: 40, shared: 65536 })
  let base = 0n
  const noted: Gpu = {
    ...gpu,
    allocate: (bytes) =>
      pipe(
        gpu.allocate(bytes),
        // The arena is the last that a session takes.
        E.map((a) => (base = a)),
      ),
  }
  const graphs: bigint[] = []
  const emulated = emulating(noted, lowered, () => base)
  return pipe(
    openSession(
      launchedByOps(emulated, tf, (g) => graphs.push(g)),
      lowered,
    ),
    E.map((session) => ({ tf, session, graphs })),
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
