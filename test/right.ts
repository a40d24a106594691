/** Unwraps a result that a test expects to be good. */
import * as E from 'fp-ts/lib/Either.js'

export const right = <Err, T>(e: E.Either<Err, T>): T => {
  if (E.isLeft(e)) throw new Error(`unexpected: ${JSON.stringify(e.left, null, 1)}`)
  return e.right
}
