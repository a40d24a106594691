/** The GPU of this machine, as far as lowering and planning ask. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { ending, type Cuda } from './driver/error.ts'
import { open, targetOf } from './index.ts'
import type { Card } from './lower/targets.ts'

/** Left: why no GPU works here. */
export const cardHere = (): Cuda<Card> =>
  pipe(
    open(),
    E.chain((gpu) =>
      ending(E.right({ name: gpu.info.name, target: targetOf(gpu) }), () => gpu.close()),
    ),
  )
