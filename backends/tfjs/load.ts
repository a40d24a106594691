/** TensorFlow inside this process: the caller's where there is one, else ours, loaded once. */
import { createRequire } from 'node:module'
import path from 'node:path'
import util from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import koffi, { type LibraryHandle } from 'koffi'
import { backendError, type BackendError } from '../backend.ts'
import { deviceCount } from '../cuda/driver/device.ts'
import { openDriver, type Driver } from '../cuda/driver/driver.ts'
import { whereOf as cudaWhereOf, type Where as CudaWhere } from '../cuda/driver/places.ts'
import { find, MEND, PACKAGE, whereOf, type Home, type Where } from './places.ts'
import { openPlugin, type Plugin } from './plugin.ts'
import type { Engine, NodeBackend, Tf } from './tf.ts'

/** A running TensorFlow. */
export interface Host {
  readonly engine: Engine
  readonly backend: NodeBackend
  /** The device that it has of ours; null: it runs on the CPU. */
  readonly plugin: Plugin | null
}

export const fail = (message: string, hint?: string): BackendError =>
  backendError('tfjs', message, hint)

const isNodeBackend = (x: unknown): x is NodeBackend =>
  typeof x === 'object' &&
  x !== null &&
  'binding' in x &&
  typeof (x as NodeBackend).createOutputTensor === 'function'

const hostOfEngine = (engine: Engine): Host | null => {
  const backend = engine.registry['tensorflow']
  return isNodeBackend(backend) ? { engine, backend, plugin: null } : null
}

/** What `load` made, and the module where it was loaded here. */
let loaded: Host | null = null
let tfModule: Tf | null = null

const behind = (tf: Tf): E.Either<BackendError, Host> =>
  pipe(
    hostOfEngine(tf.engine()),
    E.fromNullable(
      fail(
        'this tf has no TensorFlow behind it',
        `pass what ${PACKAGE} gives, not @tensorflow/tfjs alone`,
      ),
    ),
  )

/** tfjs keeps its engine in one global, whoever loaded it: a second TensorFlow in one process would crash it. */
const present = (): Host | null => {
  const engine = (globalThis as { readonly _tfengine?: Engine })._tfengine
  return engine === undefined ? null : hostOfEngine(engine)
}

const text = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n')[0]!

const quiet = (): void => {
  // TensorFlow reads it when it is loaded; its information lines would stand between ours.
  process.env['TF_CPP_MIN_LOG_LEVEL'] ??= '2'
}

/** The package asks for a function that node 23 took away. */
const mendNode = (): void => {
  const old = util as { isNullOrUndefined?: (x: unknown) => boolean }
  old.isNullOrUndefined ??= (x) => x === null || x === undefined
}

const opened = (library: string, deep: boolean): LibraryHandle => {
  try {
    return koffi.load(library, { deep })
  } catch (e) {
    throw new Error(`${library}: ${text(e)}`, { cause: e })
  }
}

/** RTLD_LAZY, RTLD_NOLOAD and RTLD_NODELETE of glibc. */
const STAY = 0x1 | 0x4 | 0x1000

/** koffi unloads a library that nobody holds any more, and TensorFlow does not survive that: what is loaded stays. */
const hold = (library: string, deep: boolean): LibraryHandle => {
  const handle = opened(library, deep)
  koffi.load(null).func('dlopen', 'void *', ['const char *', 'int'])(library, STAY)
  return handle
}

/** The device has to be there before the package makes TensorFlow's context. */
const loadFrom = (home: Home, gpu: Driver | null): E.Either<BackendError, Host> => {
  quiet()
  mendNode()
  // Each library looks into itself first: else a thousand of its symbols (zlib, OpenSSL) bind to node's own copies.
  const libraries = home.libraries.map((l) => hold(l, true))
  return pipe(
    gpu === null ? E.right(null) : openPlugin(hold, home, libraries, gpu),
    E.mapLeft((why) => fail(why, MEND)),
    E.chain((plugin) =>
      pipe(
        createRequire(path.join(home.folder, 'package.json'))(home.folder) as Tf,
        (tf) => {
          tfModule = tf
          return behind(tf)
        },
        E.map((host) => ({ ...host, plugin })),
      ),
    ),
  )
}

/** The driver where it shows a GPU; null: TensorFlow runs on the CPU. */
const gpuHere = (where: CudaWhere): Driver | null =>
  pipe(
    openDriver(where),
    E.filterOrElseW(
      (driver) => E.getOrElse(() => 0)(deviceCount(driver)) > 0,
      () => null,
    ),
    E.getOrElseW(() => null),
  )

/** A program that loaded the package itself has the CPU alone; where there is a GPU that is said, not put up with. */
const onGpuIfAny = (host: Host, cuda: CudaWhere): E.Either<BackendError, Host> =>
  host.plugin !== null || host.backend.isUsingGpuDevice || gpuHere(cuda) === null
    ? E.right(host)
    : E.left(
        fail(
          'this machine has a GPU, and tfjs was loaded without the plugin that gives it to TensorFlow',
          "load tfjs through `load` of 'tunec/tfjs' before anything else does; CUDA_VISIBLE_DEVICES=-1 hides the GPU, TensorFlow then runs on the CPU",
        ),
      )

const cudaHere = (): CudaWhere => cudaWhereOf(process.env, process.cwd())

/** The TensorFlow behind a caller's `tf`. */
export const hostOf = (tf: Tf): E.Either<BackendError, Host> =>
  pipe(
    behind(tf),
    E.chain((host) =>
      host.backend === loaded?.backend ? E.right(loaded) : onGpuIfAny(host, cudaHere()),
    ),
  )

/** The one TensorFlow of this process. Left: why there is none, and the mend. */
export const load = (
  where: Where = whereOf(process.env, process.cwd()),
  cuda: CudaWhere = cudaHere(),
): E.Either<BackendError, Host> => {
  if (loaded !== null) return E.right(loaded)
  const known = present()
  if (known !== null)
    return pipe(
      onGpuIfAny(known, cuda),
      E.map((host) => (loaded = host)),
    )
  const found = find(where)
  if ('why' in found) return E.left(fail(found.why))
  return pipe(
    E.tryCatch(
      () => loadFrom(found.home, gpuHere(cuda)),
      (e) => fail(`${found.home.folder} cannot be loaded: ${text(e)}`, MEND),
    ),
    E.flatten,
    E.map((host) => (loaded = host)),
  )
}

/** tfjs itself, with the GPU where there is one: for a program that has not loaded it. */
export const loadTf = (): E.Either<BackendError, Tf> =>
  pipe(
    load(),
    E.chain(() =>
      pipe(
        tfModule,
        E.fromNullable(
          fail('tfjs is in this process already', 'use the tf that the program has loaded'),
        ),
      ),
    ),
  )
