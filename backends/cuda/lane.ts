/** Two pinned buffers and the stream, as loading uses them. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bindWork, type Device } from './bind.ts'
import { ending, type Cuda } from './driver/error.ts'
import type { Pinned } from './driver/memory.ts'
import type { Lane } from './load.ts'
import { BUFFER } from './lower/loading.ts'

export interface OpenLane extends Lane {
  readonly close: () => Cuda<void>
}

export const openLane = (d: Device): Cuda<OpenLane> => {
  const { gpu } = d
  const at = (offset: number): bigint => d.base + BigInt(offset)
  return pipe(
    E.Do,
    E.bind('a', () => gpu.pinned(BUFFER)),
    E.bind('b', ({ a }): Cuda<Pinned> => {
      const b = gpu.pinned(BUFFER)
      return E.isLeft(b) ? ending(b, () => gpu.freePinned(a)) : b
    }),
    E.map(({ a, b }): OpenLane => {
      const pinned = [a, b]
      return {
        buffers: [a.bytes, b.bytes],
        send: (to, buffer, from, length) => gpu.send(at(to), pinned[buffer]!, from, length),
        run: (l) =>
          pipe(
            bindWork(d, l),
            E.chain((put) => put()),
          ),
        fence: gpu.fence,
        copyOut: (into, from) => gpu.copyOut(into, at(from)),
        // What is still being sent is read from the buffers.
        close: () =>
          ending(gpu.synchronize(), () => ending(gpu.freePinned(a), () => gpu.freePinned(b))),
      }
    }),
  )
}
