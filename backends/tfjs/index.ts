/** TensorFlow through @tensorflow/tfjs-node-gpu: for programs that speak tfjs. Every op is TensorFlow's own, on the CPU. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, BackendError } from '../backend.ts'
import { fail, hostOf, load, type Host } from './load.ts'
import { openSession } from './session.ts'
import type { Tf } from './tf.ts'

/** State lies in tf.Tensors, which tfjs makes on the backend that is chosen. */
const chosen = (host: Host): E.Either<BackendError, Host> =>
  host.engine.backendName === 'tensorflow'
    ? E.right(host)
    : E.left(
        fail(
          `tfjs is set to its ${host.engine.backendName} backend`,
          "call tf.setBackend('tensorflow') before training",
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
  prepare: (p) =>
    pipe(
      TE.fromIOEither(host),
      TE.chainEitherK(chosen),
      TE.map((h) => openSession(h, p)),
    ),
})

export const tfjs: Backend = backendOn(() => load())

/** The same on a caller's own `tf`: its memory shows in tf.memory(). */
export const tfjsOn = (tf: Tf): Backend => backendOn(() => hostOf(tf))
