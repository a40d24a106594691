/** How state comes to be on the device: what is sent there and the launches that cast, quantize and check it, for any file and none. */
import {
  blocks,
  bytes,
  isEncoded,
  isFloat,
  isFourBit,
  isPlain,
  rowsOf,
  size,
  type Float,
  type TensorType,
} from '../../../ir/type.ts'
import { aligned } from '../../../passes/memory.ts'
import { elementBytes } from '../kernels/card.ts'
import { cast, fill } from '../kernels/elementwise.ts'
import { quantizePiece, quantizeScales, quantizeWorkspaceBytes } from '../kernels/nf4.ts'
import { encodeRows } from '../kernels/int8.ts'
import { isFinite, reduceWorkspaceBytes } from '../kernels/reduce.ts'
import type { KernelLaunch } from '../launch.ts'
import type { Span } from './context.ts'
import type { Lowered, Port } from './lower.ts'

/** Bytes of a pinned buffer: enough that the calls around a piece cost nothing. */
export const BUFFER = 32 * 2 ** 20

/** Values of a tensor that the device takes at once. */
export interface Piece {
  readonly first: number
  readonly count: number
}

/** How one tensor comes to the device. */
export interface Way {
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

/** A piece is so many values or a multiple: whole rows of 8-bit integers, whole blocks of an even number of 4-bit codes. */
const unitOf = (type: TensorType): number =>
  type.dtype === 'int8'
    ? rowsOf(type).width
    : 256 * (isFourBit(type.dtype) ? blocks(type.dtype).block : 16)

/** Null where the device cannot take the tensor within the spare bytes. */
export const wayOf = (
  { type, offset }: Port,
  from: Float,
  spare: Span,
  buffer: number,
): Way | null => {
  const { dtype } = type
  const n = size(type)
  if (n === 0 || !(isFloat(dtype) || isEncoded(dtype))) return null
  const unit = unitOf(type)
  const wide = elementBytes[from]
  const flags = { offset: spare.offset, bytes: Math.ceil(n / unit) }
  const partials = flags.offset + aligned(flags.bytes)
  const workspace = partials + aligned(reduceWorkspaceBytes([{ rows: 1, width: buffer }]))
  const staging = workspace + aligned(isFourBit(dtype) ? quantizeWorkspaceBytes(type) : 0)
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
        ...(dtype === 'int8'
          ? [encodeRows({ ...job, ...p, x: staging })]
          : quantizePiece({ ...job, ...p, x: staging })),
      ],
      last: dtype === 'int8' ? [] : quantizeScales(job),
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

/** Bytes that come from a buffer, or a launch. */
export type Loading =
  | { readonly _tag: 'send'; readonly to: number; readonly from: number; readonly length: number }
  | KernelLaunch

/** All that one filled buffer becomes; `from`: bytes into the buffer. */
export const readOf = (way: Way, wide: number, read: number): ReadonlyArray<Loading> => {
  const all = way.reads[read]!
  const before = read * way.reads[0]!.length
  return all.flatMap((p, i) => [
    {
      _tag: 'send' as const,
      to: way.to(p),
      from: (p.first - all[0]!.first) * wide,
      length: p.count * wide,
    },
    ...way.launches(p, way.flags.offset + before + i),
  ])
}

/** A tensor's loading from first to last; null where the host makes the state. `from`: the dtype in the file. */
export const loadingOf = (
  l: Memory,
  port: Port,
  from: Float,
  buffer: number = BUFFER,
): ReadonlyArray<Loading> | null => {
  const way = wayOf(port, from, spareOf(l), buffer)
  return way === null
    ? null
    : [...way.reads.flatMap((_, i) => readOf(way, elementBytes[from], i)), ...way.last]
}

/** Values that one launch fills. */
const STRETCH = 2 ** 28

/** What makes every element the same value; null for an encoded type. */
export const fillingOf = (
  { type, offset }: Port,
  value: number,
): ReadonlyArray<KernelLaunch> | null => {
  const { dtype } = type
  if (!isPlain(dtype)) return null
  const [n, wide] = [size(type), bytes({ dtype, shape: [] })]
  return range(Math.ceil(n / STRETCH)).map((i) => {
    const width = Math.min(STRETCH, n - i * STRETCH)
    const out = { offset: offset + i * STRETCH * wide, ld: width }
    return fill({ rows: 1, width, dtype, value, out })
  })
}
