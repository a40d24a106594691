/** Checkpoints to the device: a file's bytes into one of two pinned buffers while the other is sent, cast or quantized where they arrive. */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { isEncoded, parts, size } from '../../ir/type.ts'
import type { BackendError, Stored } from '../backend.ts'
import { done, inOrder, type Cuda } from './driver/error.ts'
import { asBackendError } from './failure.ts'
import { elementBytes } from './kernels/card.ts'
import type { KernelLaunch } from './launch.ts'
import type { Span } from './lower/context.ts'
import { fillingOf, readOf, spareOf, wayOf, type Memory, type Way } from './lower/loading.ts'
import type { Port } from './lower/lower.ts'

/** What loading asks of a device; places are byte offsets in its arena. */
export interface Lane {
  /** Of one length, whole mebibytes: large blocks of values fill them. */
  readonly buffers: readonly [Uint8Array, Uint8Array]
  /** From a buffer, without waiting. */
  readonly send: (to: number, buffer: number, from: number, length: number) => Cuda<void>
  readonly run: (l: KernelLaunch) => Cuda<void>
  /** Waits until all that is on the stream now is done. */
  readonly fence: () => Cuda<() => Cuda<void>>
  readonly copyOut: (into: Uint8Array, from: number) => Cuda<void>
}

/** Half of the largest f32: a scale is a sum of two such numbers at most. */
const LARGE = 2 ** 127

/** Whether every scale of a double-quantized tensor decodes to a finite number, and of 8-bit integers is one. */
const scalesFit = (lane: Lane, { type, offset }: Port): Cuda<boolean> => {
  const stored = new Map(parts(type).map((p) => [p.name, p]))
  if (type.dtype === 'int8') {
    const { at, count } = stored.get('scales')!
    const scales = new Float32Array(count)
    return pipe(
      lane.copyOut(new Uint8Array(scales.buffer), offset + at),
      E.map(() => scales.every(Number.isFinite)),
    )
  }
  const [nested, mean] = [stored.get('nested'), stored.get('offset')]
  if (nested === undefined || mean === undefined) return E.right(true)
  // The mean lies behind the scales' scales.
  const numbers = new Float32Array(nested.count + mean.count)
  return pipe(
    lane.copyOut(new Uint8Array(numbers.buffer), offset + nested.at),
    E.map(() => numbers.every((x) => Math.abs(x) < LARGE)),
  )
}

const flagsFit = (lane: Lane, { offset }: Span, count: number): Cuda<boolean> => {
  const flags = new Uint8Array(count)
  return pipe(
    lane.copyOut(flags, offset),
    E.map(() => flags.every((f) => f === 1)),
  )
}

const sent = (lane: Lane, way: Way, wide: number, read: number, buffer: number): Cuda<void> =>
  inOrder(
    readOf(way, wide, read).map(
      (x) => () => (x._tag === 'send' ? lane.send(x.to, buffer, x.from, x.length) : lane.run(x)),
    ),
  )

const checked = (lane: Lane, way: Way, port: Port): Cuda<boolean> =>
  pipe(
    inOrder(way.last.map((l) => () => lane.run(l))),
    E.chain(() => flagsFit(lane, way.flags, way.reads.flat().length)),
    E.chain((fit) => (fit && isEncoded(port.type.dtype) ? scalesFit(lane, port) : E.right(fit))),
  )

/** Right(false): no room for it here, or a value that is not finite or becomes so. */
export const loadInto =
  (lane: Lane, l: Memory) =>
  <Err>(port: Port, stored: Stored<Err>): TaskEither<BackendError | Err, boolean> =>
  async () => {
    const { dtype, length, read } = stored
    const wide = elementBytes[dtype]
    const way =
      length === size(port.type) * wide
        ? wayOf(port, dtype, spareOf(l), lane.buffers[0].length)
        : null
    if (way === null) return E.right(false)
    const fences = [() => done, () => done]
    for (const i of way.reads.keys()) {
      const pieces = way.reads[i]!
      const b = i % 2
      const free = fences[b]!()
      if (E.isLeft(free)) return E.mapLeft(asBackendError)(free)
      fences[b] = () => done
      const begin = pieces[0]!.first * wide
      const { first, count } = pieces.at(-1)!
      const filled = await read(
        lane.buffers[b]!.subarray(0, (first + count) * wide - begin),
        begin,
      )()
      if (E.isLeft(filled)) {
        inOrder(fences)
        return filled
      }
      const fenced = pipe(
        sent(lane, way, wide, i, b),
        E.chain(() => lane.fence()),
      )
      if (E.isLeft(fenced)) return E.mapLeft(asBackendError)(fenced)
      fences[b] = fenced.right
    }
    return pipe(
      checked(lane, way, port),
      E.chainFirst(() => inOrder(fences)),
      E.mapLeft(asBackendError),
    )
  }

/** Right(false): of an encoded type. */
export const fillInto = (lane: Lane, port: Port, value: number): Cuda<boolean> => {
  const launches = fillingOf(port, value)
  return launches === null
    ? E.right(false)
    : pipe(
        inOrder(launches.map((l) => () => lane.run(l))),
        E.map(() => true),
      )
}
