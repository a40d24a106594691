/** The CUDA driver library: every call goes through `call`, which turns a code into an error with its name. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import koffi from 'koffi'
import { type Cuda, type CudaError, cudaError, done, hintFor, OWN } from './error.ts'
import { type Library, open, type Value } from './library.ts'
import type { Where } from './places.ts'
import { driverPrototypes } from './prototypes.ts'

type Functions = typeof driverPrototypes

/** Major and minor: 13.0. */
export interface Version {
  readonly major: number
  readonly minor: number
}

export const versionText = (v: Version): string => `${v.major}.${v.minor}`

export interface Driver {
  readonly path: string
  /** The CUDA version that this driver speaks. */
  readonly version: Version
  readonly call: (name: keyof Functions, ...args: ReadonlyArray<Value>) => Cuda<void>
}

/** Text that the library owns, given through a pointer to it. */
const textOf = (
  lib: Library<Functions>,
  call: 'cuGetErrorName' | 'cuGetErrorString',
  code: number,
) => {
  const out = new BigUint64Array(1)
  const r = lib.call(call, code, out)
  return E.isRight(r) && r.right === 0 && out[0] !== 0n
    ? (koffi.decode(out[0], 'char', -1) as string)
    : null
}

const failed = (lib: Library<Functions>, call: string, code: number): CudaError => {
  const name = textOf(lib, 'cuGetErrorName', code) ?? `CUDA_ERROR_${code}`
  const text = textOf(lib, 'cuGetErrorString', code) ?? 'an error without a text'
  return cudaError(call, code, name, `${call}: ${name} (${code}), ${text}`, hintFor(name))
}

const through =
  (lib: Library<Functions>): Driver['call'] =>
  (name, ...args) =>
    pipe(
      lib.call(name, ...args),
      E.chain((code) => (code === 0 ? done : E.left(failed(lib, name, code as number)))),
    )

/** A call that gives a handle or an address by its first argument. */
export const handle = (call: (out: BigUint64Array) => Cuda<void>): Cuda<bigint> => {
  const out = new BigUint64Array(1)
  return pipe(
    call(out),
    E.map(() => out[0]!),
  )
}

/** A call that gives an int. */
export const int = (call: (out: Int32Array) => Cuda<void>): Cuda<number> => {
  const out = new Int32Array(1)
  return pipe(
    call(out),
    E.map(() => out[0]!),
  )
}

/** Oldest driver whose functions are all used here: graphs and tensor maps of CUDA 12.0. */
const OLDEST = 12

const install =
  'install the NVIDIA driver (nvidia-smi tells whether it works); in a container, start it with --gpus all; a folder with libcuda.so.1 can be named by TUNEC_CUDA'

const find = (w: Where) =>
  pipe(
    open(w, { names: ['libcuda.so.1'], prototypes: driverPrototypes, beside: null, install }),
    E.map((lib) => ({ path: lib.path, call: through(lib) })),
    E.bind('version', ({ call }) =>
      pipe(
        int((out) => call('cuDriverGetVersion', out)),
        E.map((n): Version => ({ major: Math.floor(n / 1000), minor: (n % 1000) / 10 })),
      ),
    ),
  )

/** The driver's version without waking it, which also a driver without a GPU tells. */
export const versionOfDriver = (w: Where): Cuda<Pick<Driver, 'path' | 'version'>> => find(w)

/** Loads the driver and wakes it. */
export const openDriver = (w: Where): Cuda<Driver> =>
  pipe(
    find(w),
    E.filterOrElse(
      ({ version }) => version.major >= OLDEST,
      ({ path, version }) =>
        cudaError(
          'cuDriverGetVersion',
          OWN,
          'DRIVER_TOO_OLD',
          `the driver at ${path} speaks CUDA ${versionText(version)}; ${OLDEST}.0 is the oldest that works`,
          'update the NVIDIA driver to 525 or later',
        ),
    ),
    E.chainFirst(({ call }) => call('cuInit', 0)),
  )
