/** The GPU of this machine, asked only by who needs it: the way to the driver is loaded here and not before. */
import * as E from 'fp-ts/lib/Either.js'
import type { Card } from '../../backends/cuda/lower/targets.ts'

/** Left: why no GPU works here. */
export const cardHere = async (): Promise<E.Either<string, Card>> => {
  try {
    const { cardHere: ask } = await import('../../backends/cuda/here.ts')
    return E.mapLeft((e: { readonly message: string }) => e.message)(ask())
  } catch (e) {
    return E.left(`koffi cannot be loaded: ${e instanceof Error ? e.message : String(e)}`)
  }
}
