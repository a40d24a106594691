/** Work captured once and replayed. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Driver, handle } from './driver.ts'
import { type Cuda, ending } from './error.ts'

export interface Graph {
  readonly exec: bigint
  /** Nodes of the graph: about 0.8 µs each. */
  readonly nodes: number
}

/** CU_STREAM_CAPTURE_MODE_RELAXED: a kernel that the driver loads at its first use does not spoil the capture. */
const RELAXED = 2

const instantiated = (d: Driver, graph: bigint): Cuda<Graph> =>
  pipe(
    handle((out) => d.call('cuGraphGetNodes', graph, null, out)),
    E.bindTo('nodes'),
    E.bind('exec', () => handle((out) => d.call('cuGraphInstantiateWithFlags', out, graph, 0))),
    E.map(({ nodes, exec }) => ({ exec, nodes: Number(nodes) })),
  )

/** Captures what `body` puts on the stream; nothing runs. The capture ends also where the body fails. */
export const capture = (d: Driver, stream: bigint, body: () => Cuda<unknown>): Cuda<Graph> =>
  pipe(
    d.call('cuStreamBeginCapture_v2', stream, RELAXED),
    E.chain(() => {
      const put = body()
      const ended = handle((out) => d.call('cuStreamEndCapture', stream, out))
      const destroy = (g: bigint) => d.call('cuGraphDestroy', g)
      if (E.isLeft(put)) {
        if (E.isRight(ended) && ended.right !== 0n) destroy(ended.right)
        return put
      }
      return pipe(
        ended,
        E.chain((g) => ending(instantiated(d, g), () => destroy(g))),
      )
    }),
  )

export const replay = (d: Driver, stream: bigint, g: Graph): Cuda<void> =>
  d.call('cuGraphLaunch', g.exec, stream)

export const destroyGraph = (d: Driver, g: Graph): Cuda<void> =>
  d.call('cuGraphExecDestroy', g.exec)
