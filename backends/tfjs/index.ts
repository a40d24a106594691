/** TensorFlow through @tensorflow/tfjs-node-gpu: for programs that speak tfjs. On the CPU every op is TensorFlow's own; on a GPU the plan runs as the cuda backend compiles it. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Program } from '../../ir/graph.ts'
import type { Backend, BackendError, Room } from '../backend.ts'
import { fail, hostOf, load, type Host } from './load.ts'
import { openInside } from './inside.ts'
import { openSession, type TfjsSession } from './session.ts'
import type { Tf } from './tf.ts'

/** State lies in tf.Tensors, which tfjs makes on the backend that is chosen. On a GPU of another's, ops would go back to the CPU in silence. */
const chosen = (host: Host): E.Either<BackendError, Host> =>
  host.engine.backendName !== 'tensorflow'
    ? E.left(
        fail(
          `tfjs is set to its ${host.engine.backendName} backend`,
          "call tf.setBackend('tensorflow') before training",
        ),
      )
    : host.backend.isUsingGpuDevice && host.plugin === null
      ? E.left(
          fail(
            "this TensorFlow's GPU is not tunec's plugin, and has no kernels of ours",
            "load tfjs through `load` of 'tunec/tfjs', which brings the plugin",
          ),
        )
      : E.right(host)

const opened = (
  host: () => E.Either<BackendError, Host>,
  p: Program,
  room: Room | null = null,
): E.Either<BackendError, TfjsSession> =>
  pipe(
    host(),
    E.chain(chosen),
    E.chain((h) =>
      h.plugin === null ? E.right(openSession(h, p)) : openInside(h, h.plugin, p, room),
    ),
  )

const backendOn = (host: () => E.Either<BackendError, Host>): Backend => ({
  name: 'tfjs',
  doc: 'TensorFlow through tfjs-node-gpu, op by op: for programs that speak tfjs',
  diagnose: async () =>
    pipe(
      host(),
      E.chain(chosen),
      E.match(
        ({ message, hint }) => (hint === undefined ? message : `${message}; ${hint}`),
        () => null,
      ),
    ),
  prepare: (p, room) => TE.fromIOEither(() => opened(host, p, room)),
})

/** A program on a caller's own `tf`, that also takes and gives its tensors. */
export const sessionOn = (tf: Tf, p: Program): E.Either<BackendError, TfjsSession> =>
  opened(() => hostOf(tf), p)

export const tfjs: Backend = backendOn(() => load())

/** The same on a caller's own `tf`: its memory shows in tf.memory(). */
export const tfjsOn = (tf: Tf): Backend => backendOn(() => hostOf(tf))
