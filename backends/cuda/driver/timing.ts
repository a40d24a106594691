/** Time on the device, between events on the stream. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Driver, handle } from './driver.ts'
import { type Cuda, each, ending, inOrder } from './error.ts'

const elapsed = (d: Driver, from: bigint, to: bigint): Cuda<number> => {
  const ms = new Float32Array(1)
  return pipe(
    d.call('cuEventElapsedTime', ms, from, to),
    E.map(() => ms[0]!),
  )
}

/** Milliseconds of each piece of work, all put on the stream at once. */
export const times = (
  d: Driver,
  stream: bigint,
  bodies: ReadonlyArray<() => Cuda<unknown>>,
): Cuda<ReadonlyArray<number>> => {
  const events: Array<bigint> = []
  const mark = (): Cuda<void> =>
    pipe(
      handle((out) => d.call('cuEventCreate', out, 0)),
      E.chain((event) => {
        events.push(event)
        return d.call('cuEventRecord', event, stream)
      }),
    )
  return ending(
    pipe(
      inOrder([mark, ...bodies.flatMap((body) => [body, mark])]),
      E.chain(() => d.call('cuEventSynchronize', events.at(-1)!)),
      E.chain(() => each(bodies, (_, i) => elapsed(d, events[i]!, events[i + 1]!))),
    ),
    () => each(events, (e) => d.call('cuEventDestroy_v2', e)),
  )
}
