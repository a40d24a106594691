/** Weights that bitsandbytes has quantized, to 4 or to 8 bits. */
import type * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { TensorType } from '../../ir/type.ts'
import type { Issue } from '../issue.ts'
import * as four from './bnb.ts'
import * as eight from './bnb8.ts'
import type { Checkpoint } from './reader.ts'

export const isPacked = (base: Checkpoint, key: string): boolean =>
  four.isPacked(base, key) || eight.isEight(base, key)

/** All tensors that make up one weight. */
export const namesOf = (base: Checkpoint, key: string): ReadonlyArray<string> =>
  eight.isEight(base, key) ? eight.namesOf(key) : four.namesOf(key)

/** Whether the headers promise a weight in the parts that its type has; nothing else is read. */
export const promisesPacked = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): E.Either<Issue, unknown> =>
  type.dtype === 'int8' ? eight.promises(base, key, type) : four.promisesPacked(base, key, type)

/** A packed weight in the layout of its type, bit for bit. */
export const packedBytes = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): TaskEither<Issue, Uint8Array> =>
  type.dtype === 'int8' ? eight.packedBytes(base, key, type) : four.packedBytes(base, key, type)
