/** What a server serves, whatever kind of model is behind it. */
import type * as E from 'fp-ts/lib/Either.js'
import type { Row } from '../data/cell.ts'
import type { ApiError } from './openai/errors.ts'
import type { Fields } from './openai/fields.ts'
import type { Reply } from './openai/reply.ts'

/** Ludwig's refusals are a status and a sentence. */
export interface Refusal {
  readonly status: number
  readonly error: string
}

export const refusal = (status: number, error: string): Refusal => ({ status, error })

/** Rows to predictions, as Ludwig's endpoints have them. */
export interface Predictor {
  /** Columns that a row must have. */
  readonly inputs: ReadonlyArray<string>
  /** Names of what comes back. */
  readonly columns: ReadonlyArray<string>
  /** The values of the columns, row by row. */
  readonly predict: (
    rows: ReadonlyArray<Row>,
    signal: AbortSignal,
  ) => Promise<E.Either<Refusal, ReadonlyArray<ReadonlyArray<unknown>>>>
}

export type Post = (fields: Fields, signal: AbortSignal) => Promise<E.Either<ApiError, Reply>>

export interface Service extends Predictor {
  /** The model's id, as requests name it. */
  readonly name: string
  /** When it was loaded, in seconds since 1970. */
  readonly created: number
  /** OpenAI's paths. */
  readonly posts: Readonly<Record<string, Post>>
  readonly counts: () => { readonly running: number; readonly waiting: number }
  /** Takes nothing more; done when all that was taken has ended. */
  readonly close: () => Promise<void>
}
