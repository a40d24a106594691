/** CUDA: a program becomes kernels and library products in one arena, captured as graphs. Needs a driver, NVRTC and cuBLASLt, nothing else. */
import os from 'node:os'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Program } from '../../ir/graph.ts'
import type { Backend, Room } from '../backend.ts'
import { capabilityOf, type Arch } from './driver/arch.ts'
import { openDriver } from './driver/driver.ts'
import { cudaError, ending, OWN, type Cuda } from './driver/error.ts'
import { openGpu, type Gpu } from './driver/gpu.ts'
import { driverHost } from './driver/host.ts'
import { whereOf } from './driver/places.ts'
import type { Float8Products, Target } from './lower/context.ts'
import { asBackendError } from './failure.ts'
import { lower } from './lower/lower.ts'
import { lacking } from './lower/needs.ts'
import { openSession, type CudaSession } from './session.ts'

export interface Settings {
  /** Which GPU, counted from 0. */
  readonly index: number
  /** Where compiled kernels and choices of algorithms are kept; null: nowhere. */
  readonly cacheDir: string | null
  /** Another architecture than the card's own: `compute_75` runs the Turing code on a newer card. */
  readonly arch?: Arch
  /** Where the sums and factors of 8-bit products are taken in (`Target.float8`). */
  readonly float8?: Float8Products
  /** Whether kernels of generation begin early (`Target.early`). */
  readonly early?: boolean
}

export const settings = (): Settings => ({
  index: 0,
  cacheDir: process.env['TUNEC_CACHE'] ?? path.join(os.homedir(), '.cache', 'tunec'),
  ...(process.env['TUNEC_CUDA_ARCH'] === undefined ? {} : { arch: process.env['TUNEC_CUDA_ARCH'] }),
})

/** The first working GPU with its compiler. */
export const open = (s: Settings = settings()): Cuda<Gpu> => {
  const where = whereOf(process.env, process.cwd())
  return pipe(
    openDriver(where),
    E.chain((driver) => driverHost(driver, s.index)),
    E.chain((host) => {
      const { index: _, float8: __, early: ___, ...options } = s
      const gpu = openGpu(host, { ...options, where })
      return E.isLeft(gpu) ? ending(gpu, host.close) : gpu
    }),
  )
}

export const targetOf = (gpu: Gpu): Target => ({
  arch: capabilityOf(gpu.arch),
  sms: gpu.info.multiprocessors,
  shared: gpu.info.sharedPerBlock,
})

/** A session on a GPU, which is given back where none comes of it. Left: among others, that the program needs what the card has not. */
export const prepareOn = (
  gpu: Gpu,
  p: Program,
  room: Room | null = null,
  s: Pick<Settings, 'float8' | 'early'> = {},
): Cuda<CudaSession> => {
  const target = {
    ...targetOf(gpu),
    ...room,
    ...(s.float8 === undefined ? {} : { float8: s.float8 }),
    ...(s.early === undefined ? {} : { early: s.early }),
  }
  const lacks = lacking(p, target)
  return lacks === null
    ? openSession(gpu, lower(p, target))
    : ending(E.left(cudaError('prepare', OWN, 'NO_FLOAT8', lacks.why, lacks.hint)), gpu.close)
}

/** A session on the GPU of this machine, with what only this backend can tell beside it. */
export const prepareCuda = (
  p: Program,
  room: Room | null = null,
  s: Settings = settings(),
): Cuda<CudaSession> =>
  pipe(
    open(s),
    E.chain((gpu) => prepareOn(gpu, p, room, s)),
  )

export const cuda: Backend = {
  name: 'cuda',
  doc: 'NVIDIA GPUs: kernels compiled at first use, products by cuBLASLt, each function one graph',
  diagnose: async () => {
    const gpu = open()
    if (E.isRight(gpu)) {
      const closed = gpu.right.close()
      return E.isLeft(closed) ? closed.left.message : null
    }
    const { message, hint } = gpu.left
    return hint === undefined ? message : `${message}; ${hint}`
  },
  prepare: (p, room) => async () => E.mapLeft(asBackendError)(prepareCuda(p, room)),
}
