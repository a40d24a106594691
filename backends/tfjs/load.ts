/** TensorFlow inside this process: the caller's where there is one, else ours, loaded once. */
import { createRequire } from 'node:module'
import path from 'node:path'
import util from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import koffi from 'koffi'
import { backendError, type BackendError } from '../backend.ts'
import { find, MEND, PACKAGE, whereOf, type Home, type Where } from './places.ts'
import type { Engine, NodeBackend, Tf } from './tf.ts'

/** A running TensorFlow. */
export interface Host {
  readonly engine: Engine
  readonly backend: NodeBackend
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
  return isNodeBackend(backend) ? { engine, backend } : null
}

/** The TensorFlow behind a caller's `tf`. */
export const hostOf = (tf: Tf): E.Either<BackendError, Host> =>
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

/** koffi unloads a library that nobody holds any more, at whatever moment the collector runs. */
const held: Array<unknown> = []

const loadFrom = (home: Home): Tf => {
  quiet()
  mendNode()
  // Each library looks into itself first: else a thousand of its symbols (zlib, OpenSSL) bind to node's own copies.
  for (const library of home.libraries) held.push(koffi.load(library, { deep: true }))
  return createRequire(path.join(home.folder, 'package.json'))(home.folder) as Tf
}

let loaded: Host | null = null

/** The one TensorFlow of this process. Left: why there is none, and the mend. */
export const load = (
  where: Where = whereOf(process.env, process.cwd()),
): E.Either<BackendError, Host> => {
  const known = loaded ?? present()
  if (known !== null) return E.right((loaded = known))
  const found = find(where)
  if ('why' in found) return E.left(fail(found.why))
  return pipe(
    E.tryCatch(
      () => loadFrom(found.home),
      (e) => fail(`${found.home.folder} cannot be loaded: ${text(e)}`, MEND),
    ),
    E.chain(hostOf),
    E.map((host) => (loaded = host)),
  )
}
