/** Sessions on the GPU of a TensorFlow that has our plugin: lowering, kernels and launch lists of the cuda backend. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Program } from '../../ir/graph.ts'
import type { BackendError, Room } from '../backend.ts'
import type { Cuda } from '../cuda/driver/error.ts'
import { openGpu, type Options } from '../cuda/driver/gpu.ts'
import { whereOf } from '../cuda/driver/places.ts'
import { prepareOn, settings } from '../cuda/index.ts'
import { asBackendError } from '../cuda/failure.ts'
import { launchedByOps, tfHost } from './device.ts'
import { fail, type Host } from './load.ts'
import type { Plugin } from './plugin.ts'
import type { TfjsSession } from './session.ts'
import { callInside, readInside, type Inside } from './tensors.ts'

const options = (): Options => {
  const { index: _, float8: __, ...o } = settings()
  return { ...o, where: whereOf(process.env, process.cwd()) }
}

/** Everything that a compiled plan is inside TensorFlow. */
export const compiledInside = (
  host: Host,
  plugin: Plugin,
  p: Program,
  room: Room | null = null,
): Cuda<Inside> =>
  pipe(
    tfHost(host, plugin),
    E.chain((tf) =>
      pipe(
        openGpu(tf, options()),
        E.chain((gpu) => prepareOn(launchedByOps(gpu, tf), p, room)),
        E.map((session): Inside => ({ tf, session, graphs: new Map() })),
      ),
    ),
  )

const asTfjs = (e: BackendError): BackendError => ({ ...e, backend: 'tfjs' })

export const openInside = (
  host: Host,
  plugin: Plugin,
  p: Program,
  room: Room | null = null,
): E.Either<BackendError, TfjsSession> =>
  pipe(
    compiledInside(host, plugin, p, room),
    E.bimap(
      (e) => asTfjs(asBackendError(e)),
      (inside): TfjsSession => ({
        ...inside.session,
        call: (fn, inputs, wanted) =>
          pipe(
            callInside(host, inside, fn, inputs, { wanted }),
            E.mapLeft((e) => asTfjs(asBackendError(e))),
          ),
        tensor: (name) =>
          pipe(
            inside.session.lowered.state.get(name),
            E.fromNullable(fail(`no state ${name}`)),
            E.chain((port) =>
              pipe(
                readInside(host, inside, name, port),
                E.mapLeft((e) => asTfjs(asBackendError(e))),
              ),
            ),
          ),
      }),
    ),
  )
