/** What `import … from 'tunec/tfjs'` gives: for programs that speak tfjs. */
import * as E from 'fp-ts/lib/Either.js'
import { sessionOn as onTf, tfjsOn } from '../../backends/tfjs/index.ts'
import { loadTf } from '../../backends/tfjs/load.ts'
import type { Backend, BackendError } from '../../backends/backend.ts'
import type { TfjsSession } from '../../backends/tfjs/session.ts'
import type { Program } from '../../ir/graph.ts'
import type { Tf } from '../../backends/tfjs/tf.ts'

export { opsOn } from './ops.ts'
export type { AttentionOptions, Ops, RotaryOptions } from './ops.ts'
export type { Nf4, Nf4Options } from './nf4.ts'
export type { TfjsSession } from '../../backends/tfjs/session.ts'
export type { Tensor } from '../../backends/tfjs/tf.ts'
export { answererOn } from './answer.ts'
export type { Answerer, AnswererOptions } from './answer.ts'

/** @tensorflow/tfjs-node-gpu as setup:tfjs made it, typed as the caller knows it. Throws with the reason where it is not set up. */
export const load = <T = unknown>(): T => {
  const tf = loadTf()
  if (E.isLeft(tf))
    throw new Error(
      tf.left.hint === undefined ? tf.left.message : `${tf.left.message}; ${tf.left.hint}`,
    )
  return tf.right as T
}

/** The tfjs backend on a program's own `tf`, for `dsl.train(plan, { backend })`: its memory shows in tf.memory(). */
export const backendOn = (tf: object): Backend => tfjsOn(tf as Tf)

/** A program, such as a plan's, whose functions are called with tf.Tensors and answer with them: batches in, losses and weights out. Its state is empty until it is written. */
export const sessionOn = (tf: object, program: Program): E.Either<BackendError, TfjsSession> =>
  onTf(tf as Tf, program)
