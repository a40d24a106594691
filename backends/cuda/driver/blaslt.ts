/** cuBLASLt: the library, its handle, and objects made through it. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { handle, type Version } from './driver.ts'
import { type Cuda, cudaError, done } from './error.ts'
import { type Library, open, type Prototypes, type Value } from './library.ts'
import type { Where } from './places.ts'

const u64 = 'uint64_t'

const prototypes = {
  cublasLtGetVersion: ['size_t', []],
  cublasLtGetStatusName: ['const char *', ['int']],
  cublasLtGetStatusString: ['const char *', ['int']],
  cublasLtCreate: ['int', ['void *']],
  cublasLtDestroy: ['int', [u64]],
  cublasLtMatmulDescCreate: ['int', ['void *', 'int', 'int']],
  cublasLtMatmulDescDestroy: ['int', [u64]],
  cublasLtMatmulDescSetAttribute: ['int', [u64, 'int', 'void *', 'size_t']],
  cublasLtMatrixLayoutCreate: ['int', ['void *', 'int', u64, u64, 'int64_t']],
  cublasLtMatrixLayoutDestroy: ['int', [u64]],
  cublasLtMatmulPreferenceCreate: ['int', ['void *']],
  cublasLtMatmulPreferenceDestroy: ['int', [u64]],
  cublasLtMatmulPreferenceSetAttribute: ['int', [u64, 'int', 'void *', 'size_t']],
  cublasLtMatmulAlgoGetHeuristic: [
    'int',
    [u64, u64, u64, u64, u64, u64, u64, 'int', 'void *', 'void *'],
  ],
  cublasLtMatmulAlgoCheck: ['int', [u64, u64, u64, u64, u64, u64, 'void *', 'void *']],
  cublasLtMatmul: [
    'int',
    [
      ...[u64, u64, 'void *', u64, u64, u64, u64, 'void *', u64, u64, u64, u64],
      ...['void *', u64, 'size_t', u64],
    ],
  ],
} satisfies Prototypes

type Functions = typeof prototypes

/** Memory that cuBLASLt may use beside the operands. */
export interface Workspace {
  readonly address: bigint
  readonly bytes: number
}

export interface BlasLt {
  readonly path: string
  readonly version: Version & { readonly text: string }
  readonly handle: bigint
  readonly call: (name: keyof Functions, ...args: ReadonlyArray<Value>) => Cuda<void>
  readonly close: () => Cuda<void>
}

const through =
  (lib: Library<Functions>): BlasLt['call'] =>
  (name, ...args) =>
    pipe(
      lib.call(name, ...args),
      E.chain((code) => {
        if (code === 0) return done
        const text = (f: 'cublasLtGetStatusName' | 'cublasLtGetStatusString') =>
          pipe(
            lib.call(f, code as number),
            E.match(() => null, String),
          )
        const status = text('cublasLtGetStatusName') ?? `CUBLAS_STATUS_${code}`
        const message = `${name}: ${status} (${code}), ${text('cublasLtGetStatusString') ?? ''}`
        return E.left(cudaError(name, code as number, status, message, hints[status]))
      }),
    )

const hints: Readonly<Record<string, string>> = {
  CUBLAS_STATUS_ALLOC_FAILED: 'cuBLASLt found no memory for itself: free some on the GPU or host',
  CUBLAS_STATUS_NOT_INITIALIZED: 'the driver is older than this cuBLASLt, or no GPU works',
  CUBLAS_STATUS_ARCH_MISMATCH: 'this cuBLASLt does not support the GPU: run `npm run setup:cuda`',
}

const install =
  'run `npm run setup:cuda`, or install the CUDA toolkit, or `pip install nvidia-cublas`; a folder with it can be named by TUNEC_CUDA'

/** A library of an older major version works with a newer driver, the other way round it does not. */
const namesFor = (driver: Version): ReadonlyArray<string> =>
  [13, 12].filter((v) => v <= driver.major).map((v) => `libcublasLt.so.${v}`)

/** 130200 is 13.2.0; before version 13, and in 13 itself, major · 10000 + minor · 100 + patch. */
const versionOf = (n: number) => {
  const [major, minor, patch] = [Math.floor(n / 10000), Math.floor((n % 10000) / 100), n % 100]
  return { major, minor, text: `${major}.${minor}.${patch}` }
}

/** The library without a handle: what `doctor` asks. */
export const findBlasLt = (w: Where, driver: Version) =>
  pipe(
    open(w, { names: namesFor(driver), prototypes, beside: null, install }),
    E.bindTo('lib'),
    E.bind('version', ({ lib }) =>
      pipe(
        lib.call('cublasLtGetVersion'),
        E.map((n) => versionOf(Number(n))),
      ),
    ),
  )

/** Finds the library and makes a handle on the device that is current. */
export const openBlasLt = (w: Where, driver: Version): Cuda<BlasLt> =>
  pipe(
    findBlasLt(w, driver),
    E.chain(({ lib, version }) => {
      const call = through(lib)
      return pipe(
        handle((out) => call('cublasLtCreate', out)),
        E.map((h): BlasLt => ({
          path: lib.path,
          version,
          handle: h,
          call,
          close: () => call('cublasLtDestroy', h),
        })),
      )
    }),
  )
