/** Pinned memory through which a function's inputs and outputs pass: what is small travels within the function's graph. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bytes, show, size, type TensorType } from '../../ir/type.ts'
import { aligned } from '../../passes/memory.ts'
import { backendError, type BackendError, type Feeds, type Values } from '../backend.ts'
import { decodeF32 } from '../bytes.ts'
import { done, type Cuda } from './driver/error.ts'
import type { Gpu } from './driver/gpu.ts'
import type { Pinned } from './driver/memory.ts'
import type { LoweredFn, Port } from './lower/lower.ts'

/** Outputs up to so many bytes are copied at every run, wanted or not: that costs less than a call. */
const SMALL = 4096

/** A value at its place in the staging memory. */
interface Staged {
  readonly port: Port
  readonly at: number
}

export interface Staging {
  readonly inputs: ReadonlyArray<Staged>
  /** Bytes of the inputs, which lie side by side here and in the arena. */
  readonly block: number
  readonly outs: ReadonlyArray<Staged>
  readonly bytes: number
}

export const stagingOf = (f: LoweredFn): Staging => {
  const first = f.inputs.reduce((m, p) => Math.min(m, p.offset), Infinity)
  const inputs = f.inputs.map((port) => ({ port, at: port.offset - first }))
  const block = inputs.reduce((m, x) => Math.max(m, x.at + aligned(bytes(x.port.type))), 0)
  let end = block
  const outs = f.outs.map((port) => {
    const at = end
    end += aligned(bytes(port.type))
    return { port, at }
  })
  return { inputs, block, outs, bytes: end }
}

/** Whether an output comes with the graph. */
export const carried = (s: Staged): boolean => bytes(s.port.type) <= SMALL

export const sendInputs = (gpu: Gpu, base: bigint, p: Pinned, s: Staging): Cuda<void> => {
  const first = s.inputs.find((x) => x.at === 0)
  return first === undefined ? done : gpu.send(base + BigInt(first.port.offset), p, 0, s.block)
}

export const fetchOut = (gpu: Gpu, base: bigint, p: Pinned, o: Staged): Cuda<void> =>
  gpu.fetch(p, o.at, base + BigInt(o.port.offset), bytes(o.port.type))

const why = (fn: string, { name, type }: Port, given: Values | undefined): BackendError | null =>
  given !== undefined && given.length === size(type)
    ? null
    : backendError(
        'cuda',
        `@${fn}: %${name} is ${show(type)}, got ${given === undefined ? 'nothing' : `${given.length} values`}`,
      )

const viewOf = (p: Pinned, at: number, t: TensorType): Values => {
  const [buffer, from] = [p.bytes.buffer as ArrayBuffer, p.bytes.byteOffset + at]
  return t.dtype === 'i32'
    ? new Int32Array(buffer, from, size(t))
    : new Float32Array(buffer, from, size(t))
}

/** Writes inputs where the next copy takes them from. Left: one is missing or of another size. */
export const stageInputs = (
  fn: string,
  p: Pinned,
  s: Staging,
  inputs: Feeds,
): E.Either<BackendError, void> => {
  for (const { port } of s.inputs) {
    const wrong = why(fn, port, inputs[port.name])
    if (wrong !== null) return E.left(wrong)
  }
  for (const { port, at } of s.inputs) viewOf(p, at, port.type).set(inputs[port.name]!)
  return E.right(undefined)
}

/** An output as the caller gets it, in memory of its own: i32 as it is, everything else as f32. */
export const takeOut = (p: Pinned, { port, at }: Staged): readonly [string, Values] => {
  const stored = p.bytes.slice(at, at + bytes(port.type))
  return [
    port.name,
    port.type.dtype === 'i32' ? new Int32Array(stored.buffer) : decodeF32(port.type, stored),
  ]
}

/** Memory for the largest of the functions: they run one after the other. */
export const openStaging = (
  gpu: Gpu,
  fns: ReadonlyArray<LoweredFn>,
): Cuda<{ readonly pinned: Pinned; readonly of: ReadonlyMap<string, Staging> }> => {
  const of = new Map(fns.map((f) => [f.name, stagingOf(f)] as const))
  const most = [...of.values()].reduce((m, s) => Math.max(m, s.bytes), 256)
  return pipe(
    gpu.pinned(most),
    E.map((pinned) => ({ pinned, of })),
  )
}
