/** A step's two functions on whoever owns the device: the cuda backend, or TensorFlow fed with arrays or with its own tensors. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Feeds, Room } from '../backends/backend.ts'
import { cudaError, OWN, type Cuda } from '../backends/cuda/driver/error.ts'
import { prepareCuda, type Settings } from '../backends/cuda/index.ts'
import type { CudaSession } from '../backends/cuda/session.ts'
import { compiledInside } from '../backends/tfjs/inside.ts'
import { load, type Host } from '../backends/tfjs/load.ts'
import { callInside, type Inside } from '../backends/tfjs/tensors.ts'
import { DT, type Tensor } from '../backends/tfjs/tf.ts'
import type { Program } from '../ir/graph.ts'
import { right } from './right.ts'

const hosts = ['cuda', 'tfjs', 'tensors'] as const
export type HostName = (typeof hosts)[number]
export const isHost = (x: string): x is HostName => hosts.some((h) => h === x)

export interface Steps {
  readonly session: CudaSession
  /** The loss. */
  readonly micro: (feeds: Feeds) => Promise<number>
  readonly update: (lr: number, step: number) => Promise<void>
}

const ofArrays = (session: CudaSession): Steps => ({
  session,
  micro: async (feeds) => right(await session.run('micro', feeds)())['loss']![0]!,
  update: async (lr, step) => {
    right(await session.run('update', { lr: Float32Array.of(lr), step: Float32Array.of(step) })())
  },
})

const ofTensors = (host: Host, inside: Inside): Steps => {
  const { backend } = host
  const tensor = (x: Float32Array | Int32Array): Tensor => {
    const [dtype, shape] = [x instanceof Int32Array ? DT.i32 : DT.f32, [x.length]]
    return backend.createOutputTensor({
      id: backend.binding.createTensor(shape, dtype, x),
      dtype,
      shape,
    })
  }
  const call = (fn: string, feeds: Feeds): Readonly<Record<string, Tensor>> => {
    const given = Object.fromEntries(
      Object.entries(feeds).map(([k, x]) => [k, tensor(x.slice() as Float32Array | Int32Array)]),
    )
    const out = right(callInside(host, inside, fn, given))
    for (const t of Object.values(given)) t.dispose()
    return out
  }
  return {
    session: inside.session,
    micro: async (feeds) => {
      const out = call('micro', feeds)
      const loss = out['loss']!.dataSync()[0]!
      for (const t of Object.values(out)) t.dispose()
      return loss
    },
    update: async (lr, step) => {
      const out = call('update', { lr: Float32Array.of(lr), step: Float32Array.of(step) })
      for (const t of Object.values(out)) {
        t.dataSync()
        t.dispose()
      }
    },
  }
}

const tensorflow = (): Cuda<Host> =>
  pipe(
    load(),
    E.mapLeft((e) => cudaError('load', OWN, 'TENSORFLOW', e.message, e.hint)),
  )

export const stepsOn = (name: HostName, p: Program, room: Room, s: Settings): Cuda<Steps> =>
  name === 'cuda'
    ? pipe(prepareCuda(p, room, s), E.map(ofArrays))
    : pipe(
        tensorflow(),
        E.chain((host) =>
          host.plugin === null
            ? E.left(cudaError('load', OWN, 'NO_GPU', 'TensorFlow has no GPU here'))
            : pipe(
                compiledInside(host, host.plugin, p, room),
                E.map((inside) =>
                  name === 'tfjs' ? ofArrays(inside.session) : ofTensors(host, inside),
                ),
              ),
        ),
      )
