/** NVRTC: CUDA C++ source to a binary of one architecture, or to PTX. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Arch } from './arch.ts'
import { handle, type Version, versionText } from './driver.ts'
import { type Cuda, cudaError, done, ending, OWN } from './error.ts'
import { type Library, open, type Prototypes, type Value } from './library.ts'
import type { Where } from './places.ts'

const prototypes = {
  nvrtcVersion: ['int', ['void *', 'void *']],
  nvrtcGetErrorString: ['const char *', ['int']],
  nvrtcGetNumSupportedArchs: ['int', ['void *']],
  nvrtcGetSupportedArchs: ['int', ['void *']],
  nvrtcCreateProgram: [
    'int',
    ['void *', 'const char *', 'const char *', 'int', 'void *', 'void *'],
  ],
  nvrtcDestroyProgram: ['int', ['void *']],
  nvrtcCompileProgram: ['int', ['uint64_t', 'int', 'const char **']],
  nvrtcGetProgramLogSize: ['int', ['uint64_t', 'void *']],
  nvrtcGetProgramLog: ['int', ['uint64_t', 'void *']],
  nvrtcGetCUBINSize: ['int', ['uint64_t', 'void *']],
  nvrtcGetCUBIN: ['int', ['uint64_t', 'void *']],
  nvrtcGetPTXSize: ['int', ['uint64_t', 'void *']],
  nvrtcGetPTX: ['int', ['uint64_t', 'void *']],
} satisfies Prototypes

type Functions = typeof prototypes
type Call = (name: keyof Functions, ...args: ReadonlyArray<Value>) => Cuda<void>

export type Defines = Readonly<Record<string, string | number>>

/** What is compiled: one source with its macros for one architecture. */
export interface Unit {
  readonly source: string
  readonly defines: Defines
  readonly arch: Arch
  /** Further options of NVRTC. */
  readonly options: ReadonlyArray<string>
}

export interface Compiled {
  /** A cubin, or PTX with its closing zero. */
  readonly image: Buffer
  /** What NVRTC said: warnings, such as C7512 where it serialized wgmma. */
  readonly log: string
}

export interface Nvrtc {
  readonly path: string
  readonly version: Version
  /** Compute capabilities it compiles for: 75, 80, …. */
  readonly supported: ReadonlyArray<number>
  readonly compile: (u: Unit) => Cuda<Compiled>
}

/** All options in the order they are passed; they are a part of the cache's key. */
export const optionsOf = (u: Unit): ReadonlyArray<string> => [
  `--gpu-architecture=${u.arch}`,
  '--std=c++17',
  ...Object.entries(u.defines)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, value]) => `-D${name}=${value}`),
  ...u.options,
]

const NAMES: Readonly<Record<number, string>> = {
  1: 'NVRTC_ERROR_OUT_OF_MEMORY',
  2: 'NVRTC_ERROR_PROGRAM_CREATION_FAILURE',
  3: 'NVRTC_ERROR_INVALID_INPUT',
  4: 'NVRTC_ERROR_INVALID_PROGRAM',
  5: 'NVRTC_ERROR_INVALID_OPTION',
  6: 'NVRTC_ERROR_COMPILATION',
  7: 'NVRTC_ERROR_BUILTIN_OPERATION_FAILURE',
  11: 'NVRTC_ERROR_INTERNAL_ERROR',
}

const through =
  (lib: Library<Functions>): Call =>
  (name, ...args) =>
    pipe(
      lib.call(name, ...args),
      E.chain((code) => {
        if (code === 0) return done
        const text = lib.call('nvrtcGetErrorString', code as number)
        const known =
          NAMES[code as number] ?? (E.isRight(text) ? String(text.right) : `NVRTC ${code}`)
        return E.left(cudaError(name, code as number, known, `${name}: ${known} (${code})`))
      }),
    )

/** Two calls of NVRTC: the size of some bytes, then the bytes. */
const bytes = (
  call: Call,
  program: bigint,
  size: keyof Functions,
  get: keyof Functions,
): Cuda<Buffer> =>
  pipe(
    handle((out) => call(size, program, out)),
    E.chain((n) => {
      const out = Buffer.alloc(Number(n))
      return pipe(
        call(get, program, out),
        E.map(() => out),
      )
    }),
  )

const logOf = (call: Call, program: bigint): string =>
  pipe(
    bytes(call, program, 'nvrtcGetProgramLogSize', 'nvrtcGetProgramLog'),
    E.match(
      (e) => e.message,
      (b) => b.toString('utf8').replace(/\0+$/, '').trim(),
    ),
  )

const builtins = (log: string): string | undefined =>
  /failed to open libnvrtc-builtins/.test(log)
    ? 'libnvrtc-builtins must lie beside libnvrtc: run `npm run setup:cuda`'
    : undefined

const compile = (call: Call, u: Unit): Cuda<Compiled> => {
  const options = optionsOf(u)
  return pipe(
    handle((out) => call('nvrtcCreateProgram', out, u.source, 'kernel.cu', 0, null, null)),
    E.chain((program) => {
      const compiled = pipe(
        call('nvrtcCompileProgram', program, options.length, options),
        E.mapLeft((e) => {
          const log = logOf(call, program)
          const message = `${e.message} with ${options.join(' ')}${log === '' ? '' : `\n${log}`}`
          return cudaError(e.call, e.code, e.name, message, builtins(log))
        }),
        E.chain(() =>
          u.arch.startsWith('compute_')
            ? bytes(call, program, 'nvrtcGetPTXSize', 'nvrtcGetPTX')
            : bytes(call, program, 'nvrtcGetCUBINSize', 'nvrtcGetCUBIN'),
        ),
        E.map((image): Compiled => ({ image, log: logOf(call, program) })),
      )
      return ending(compiled, () => call('nvrtcDestroyProgram', BigUint64Array.of(program)))
    }),
  )
}

const versionOf = (call: Call): Cuda<Version> => {
  const [major, minor] = [new Int32Array(1), new Int32Array(1)]
  return pipe(
    call('nvrtcVersion', major, minor),
    E.map(() => ({ major: major[0]!, minor: minor[0]! })),
  )
}

const supportedOf = (call: Call): Cuda<ReadonlyArray<number>> => {
  const count = new Int32Array(1)
  return pipe(
    call('nvrtcGetNumSupportedArchs', count),
    E.chain(() => {
      const out = new Int32Array(count[0]!)
      return pipe(
        call('nvrtcGetSupportedArchs', out),
        E.map(() => [...out]),
      )
    }),
  )
}

const install =
  'run `npm run setup:cuda`, or install the CUDA toolkit, or `pip install nvidia-cuda-nvrtc`; a folder with it can be named by TUNEC_CUDA'

/** File names for a driver's major version: a driver loads what its own and older compilers make. */
export const nvrtcNames = (driverMajor: number | null): ReadonlyArray<string> => {
  const own = [13, 12].filter((v) => driverMajor === null || v <= driverMajor)
  return [...own, ...[13, 12].filter((v) => !own.includes(v))].map((v) => `libnvrtc.so.${v}`)
}

/** Finds and loads NVRTC; `driver` is the version it has to suit, null for compiling alone. */
export const openNvrtc = (w: Where, driver: Version | null): Cuda<Nvrtc> =>
  pipe(
    open(w, {
      names: nvrtcNames(driver === null ? null : driver.major),
      prototypes,
      beside: /^libnvrtc-builtins\.so/,
      install,
    }),
    E.chain((lib) => {
      const call = through(lib)
      return pipe(
        versionOf(call),
        E.filterOrElse(
          (v) => driver === null || v.major <= driver.major,
          (v) =>
            cudaError(
              'nvrtcVersion',
              OWN,
              'DRIVER_TOO_OLD',
              `the driver speaks CUDA ${versionText(driver!)}, and the NVRTC at ${lib.path} is of ${versionText(v)}`,
              'update the NVIDIA driver, or run `npm run setup:cuda`, which fetches the NVRTC of its version',
            ),
        ),
        E.bindTo('version'),
        E.bind('supported', () => supportedOf(call)),
        E.map(({ version, supported }): Nvrtc => ({
          path: lib.path,
          version,
          supported,
          compile: (u) => compile(call, u),
        })),
      )
    }),
  )
