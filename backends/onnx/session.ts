/** Loads onnxruntime when first asked, runs model files on the CPU, and turns its errors into values. */

import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import type * as Ort from 'onnxruntime-node'

import { backendError, type BackendError } from '../backend.ts'
import type { ElemType } from './proto.ts'

/** A view of the caller's memory; runs read and write it in place. */
export type Tensor = Ort.Tensor

/** Element types that cross the border: bfloat16 has no array type, so it travels as uint16. */
export type BorderType = Exclude<ElemType, 'bfloat16'>

export type Tensors = Readonly<Record<string, Tensor>>

export interface Session {
  /** Feeds every input and writes every output named in `fetches` into that tensor's own memory. */
  readonly run: (feeds: Tensors, fetches: Tensors) => TE.TaskEither<BackendError, void>
  /** Gives the session's memory and threads back; the session must not be run again. */
  readonly close: TE.TaskEither<BackendError, void>
}

export interface SessionOptions {
  /** Threads inside one operator; 0 lets onnxruntime take one a physical core. */
  readonly threads: number
}

export interface Runtime {
  /** A tensor over `data` (row-major, length = product of `shape`), without a copy. */
  readonly tensor: (
    elemType: BorderType,
    shape: readonly number[],
    data: Ort.Tensor.DataType,
  ) => Tensor
  /** A session over a model file's bytes; fails when onnxruntime refuses the model. */
  readonly open: (
    model: Uint8Array,
    options: SessionOptions,
  ) => TE.TaskEither<BackendError, Session>
}

/** The runtime, imported at the first call only: it maps a native library of some 30 MB. */
export const loadRuntime: TE.TaskEither<BackendError, Runtime> = pipe(
  TE.tryCatch(
    () => import('onnxruntime-node'),
    (error) =>
      backendError(
        'onnx',
        `onnxruntime-node cannot be loaded on ${process.platform} ${process.arch}: ${text(error)}`,
        'reinstall it: npm install onnxruntime-node',
      ),
  ),
  TE.map((ort) => ({
    tensor: (elemType, shape, data) => new ort.Tensor(elemType, data, shape),
    open: (model, options) => open(ort, model, options),
  })),
)

const open = (
  ort: typeof Ort,
  model: Uint8Array,
  options: SessionOptions,
): TE.TaskEither<BackendError, Session> =>
  pipe(
    attempt('onnxruntime refuses the compiled model', () =>
      ort.InferenceSession.create(model, sessionOptions(options)),
    ),
    TE.map((session) => ({
      run: (feeds, fetches) =>
        pipe(
          attempt('onnxruntime failed to run the compiled model', () =>
            session.run(feeds, fetches),
          ),
          TE.map(() => undefined),
        ),
      close: attempt('onnxruntime failed to release a session', () => session.release()),
    })),
  )

/**
 * The graph arrives optimized and runs as it stands: onnxruntime's own rewriting would merge what is
 * computed again on purpose. Threads spin between operators (a step has hundreds of short ones) but
 * stop when a run ends: each session has its own, and an idle one's would take the cores from the next.
 */
const sessionOptions = ({ threads }: SessionOptions): Ort.InferenceSession.SessionOptions => ({
  executionProviders: ['cpu'],
  executionMode: 'sequential',
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  graphOptimizationLevel: 'disabled',
  logSeverityLevel: 3,
  extra: { session: { intra_op: { allow_spinning: '1' }, force_spinning_stop: '1' } },
})

const attempt = <A>(message: string, effect: () => Promise<A>): TE.TaskEither<BackendError, A> =>
  TE.tryCatch(effect, (error) =>
    backendError(
      'onnx',
      `${message}: ${text(error)}`,
      'this is a fault of the compiler, not of the config: please report it with the command',
    ),
  )

const text = (error: unknown): string => (error instanceof Error ? error.message : String(error))
