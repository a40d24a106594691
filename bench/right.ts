/** Unwraps a result that a benchmark cannot do without. */
import * as E from 'fp-ts/lib/Either.js'

export const right = <Err, T>(e: E.Either<Err, T>): T => {
  if (E.isLeft(e)) throw new Error(JSON.stringify(e.left))
  return e.right
}
