/** Checkpoints to the device: a file's bytes into one of two pinned buffers while the other is sent, cast or quantized where they arrive. */
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import {
  blocks,
  bytes,
  isEncoded,
  isFloat,
  isPlain,
  parts,
  size,
  type Float,
} from '../../ir/type.ts'
import { aligned } from '../../passes/memory.ts'
import type { BackendError, Stored } from '../backend.ts'
import { done, inOrder, type Cuda } from './driver/error.ts'
import { asBackendError } from './failure.ts'
import { elementBytes } from './kernels/card.ts'
import { cast, fill } from './kernels/elementwise.ts'
import { quantizePiece, quantizeScales, quantizeWorkspaceBytes } from './kernels/nf4.ts'
import { isFinite, reduceWorkspaceBytes } from './kernels/reduce.ts'
import type { KernelLaunch } from './launch.ts'
import type { Span } from './lower/context.ts'
import type { Lowered, Port } from './lower/lower.ts'

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

/** Values of a tensor that the device takes at once. */
interface Piece {
  readonly first: number
  readonly count: number
}

/** How one tensor comes to the device. */
interface Way {
  /** What fills a buffer, as the pieces it is sent in. */
  readonly reads: ReadonlyArray<ReadonlyArray<Piece>>
  readonly to: (p: Piece) => number
  /** What is made of a piece that has arrived; a byte at `flag` becomes whether its values are finite. */
  readonly launches: (p: Piece, flag: number) => ReadonlyArray<KernelLaunch>
  /** After the last piece. */
  readonly last: ReadonlyArray<KernelLaunch>
  readonly flags: Span
}

/** The part of a lowered program that says where its memory lies. */
export type Memory = Pick<Lowered, 'state' | 'arenaBytes'>

/** Temporaries of the functions: nothing lies there while state is made. */
export const spareOf = (l: Memory): Span => {
  const ends = [...l.state.values()].map((p) => p.offset + bytes(p.type))
  const offset = aligned(ends.reduce((a, b) => Math.max(a, b), 0))
  return { offset, bytes: l.arenaBytes - offset }
}

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i)

/** Null where the device cannot take the tensor within the spare bytes. */
const wayOf = ({ type, offset }: Port, from: Float, spare: Span, buffer: number): Way | null => {
  const { dtype } = type
  const n = size(type)
  if (n === 0 || !(isFloat(dtype) || isEncoded(dtype))) return null
  // Whole blocks of an even number of codes.
  const unit = 256 * (isEncoded(dtype) ? blocks(dtype).block : 16)
  const wide = elementBytes[from]
  const flags = { offset: spare.offset, bytes: Math.ceil(n / unit) }
  const partials = flags.offset + aligned(flags.bytes)
  const workspace = partials + aligned(reduceWorkspaceBytes([{ rows: 1, width: buffer }]))
  const staging = workspace + aligned(isEncoded(dtype) ? quantizeWorkspaceBytes(type) : 0)
  const left = spare.offset + spare.bytes - staging
  const most = Math.floor(Math.min(buffer, dtype === from && left >= 0 ? buffer : left) / wide)
  const step = most >= n ? n : Math.floor(most / unit) * unit
  if (step <= 0) return null
  const pieces = range(Math.ceil(n / step)).map((i): Piece => ({
    first: i * step,
    count: Math.min(step, n - i * step),
  }))
  const together = Math.floor(buffer / (step * wide))
  const reads = range(Math.ceil(pieces.length / together)).map((i) =>
    pieces.slice(i * together, (i + 1) * together),
  )
  const finite = (at: number, of: Float, count: number, flag: number) => {
    const part = { rows: 1, width: count, a: { offset: at, ld: count }, dtype: of }
    return isFinite({ parts: [part], out: flag, workspace: partials })
  }
  if (isEncoded(dtype)) {
    const job = { type, offset, workspace, from }
    return {
      reads,
      flags,
      to: () => staging,
      launches: (p, flag) => [
        ...finite(staging, from, p.count, flag),
        ...quantizePiece({ ...job, ...p, x: staging }),
      ],
      last: quantizeScales(job),
    }
  }
  const target = (p: Piece): number => offset + p.first * elementBytes[dtype]
  return {
    reads,
    flags,
    to: (p) => (dtype === from ? target(p) : staging),
    launches: (p, flag) => {
      const rows = (at: number) => ({ offset: at, ld: p.count })
      const [a, out] = [rows(staging), rows(target(p))]
      return [
        ...(dtype === from ? [] : [cast({ rows: 1, width: p.count, a, out, from, to: dtype })]),
        // Of what it became: a value too large for the narrower type is found too.
        ...finite(target(p), dtype, p.count, flag),
      ]
    },
    last: [],
  }
}

/** Half of the largest f32: a scale is a sum of two such numbers at most. */
const LARGE = 2 ** 127

/** Whether every scale of a double-quantized tensor decodes to a finite number. */
const scalesFit = (lane: Lane, { type, offset }: Port): Cuda<boolean> => {
  const stored = new Map(parts(type).map((p) => [p.name, p]))
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

const sent = (lane: Lane, way: Way, wide: number, read: number, buffer: number): Cuda<void> => {
  const all = way.reads[read]!
  const before = read * way.reads[0]!.length
  return inOrder(
    all.flatMap((p, i) => [
      () => lane.send(way.to(p), buffer, (p.first - all[0]!.first) * wide, p.count * wide),
      ...way.launches(p, way.flags.offset + before + i).map((l) => () => lane.run(l)),
    ]),
  )
}

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

/** Values that one launch fills. */
const STRETCH = 2 ** 28

/** Right(false): of an encoded type. */
export const fillInto = (lane: Lane, { type, offset }: Port, value: number): Cuda<boolean> => {
  const { dtype } = type
  if (!isPlain(dtype)) return E.right(false)
  const [n, wide] = [size(type), bytes({ dtype, shape: [] })]
  return pipe(
    inOrder(
      range(Math.ceil(n / STRETCH)).map((i) => () => {
        const width = Math.min(STRETCH, n - i * STRETCH)
        const out = { offset: offset + i * STRETCH * wide, ld: width }
        return lane.run(fill({ rows: 1, width, dtype, value, out }))
      }),
    ),
    E.map(() => true),
  )
}
