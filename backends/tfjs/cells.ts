/** State of a session: each contiguous part of a tensor is one tf.Tensor of f32 words, so that tf.memory() counts its bytes as they are. */
import type { Program, State } from '../../ir/graph.ts'
import {
  bytes,
  isEncoded,
  partBytes,
  parts,
  show,
  type Part,
  type Plain,
  type TensorType,
} from '../../ir/type.ts'
import type { Host } from './load.ts'
import { dtypeOf, type Nodes, type Value } from './nodes.ts'
import type { Parts } from './site.ts'
import { DT, type Tensor } from './tf.ts'

interface Held {
  readonly part: Part
  tensor: Tensor
}

export interface Cell {
  readonly state: State
  readonly held: ReadonlyArray<Held>
}

const wordsOf = (p: Part): number => Math.ceil(partBytes(p) / 4)
const shapeOf = (t: TensorType, p: Part): ReadonlyArray<number> =>
  t.dtype === 'f32' ? t.shape : [wordsOf(p)]

/** A tf.Tensor over a raw id, which from now on belongs to it. */
export const wrapped = ({ engine, backend }: Host, v: Value): Tensor =>
  engine.keep(backend.createOutputTensor(v))

const zeros = (host: Host, t: TensorType, p: Part): Tensor => {
  const shape = shapeOf(t, p)
  const id = host.backend.binding.createTensor(shape, DT.f32, new Float32Array(wordsOf(p)))
  return wrapped(host, { id, dtype: DT.f32, shape })
}

export const cellOf = (host: Host, state: State): Cell => ({
  state,
  held: parts(state.type).map((part) => ({ part, tensor: zeros(host, state.type, part) })),
})

export const cellsOf = (host: Host, p: Program): ReadonlyMap<string, Cell> =>
  new Map(p.state.map((state) => [state.name, cellOf(host, state)]))

const raw = (host: Host, t: Tensor, shape: ReadonlyArray<number>): Value => ({
  id: host.backend.getInputTensorIds([t])[0]!,
  dtype: DT.f32,
  shape,
})

/** Elements of one dtype in f32 words. TensorFlow has no bits of booleans: they lie as bytes. */
const plainOf = (dtype: Plain): number => (dtype === 'bool' ? DT.u8 : dtypeOf[dtype])
const perWord = (dtype: Plain): number =>
  ({ f32: 1, i32: 1, f16: 2, bf16: 2, i8: 4, u8: 4, bool: 4 })[dtype]

const unpacked = (n: Nodes, words: Value, p: Part, shape: ReadonlyArray<number>): Value => {
  const all = n.reshape(n.bits(words, plainOf(p.dtype)), wordsOf(p) * perWord(p.dtype))
  const exact = all.shape[0] === p.count ? all : n.slice(all, 0, 0, p.count)
  const values = p.dtype === 'bool' ? n.cast(exact, DT.bool) : exact
  return n.reshape(values, ...shape)
}

const packed = (n: Nodes, v: Value, p: Part): Value => {
  const plain = p.dtype === 'bool' ? n.cast(v, DT.u8) : v
  const flat = n.reshape(plain, p.count)
  const per = perWord(p.dtype)
  const gap = wordsOf(p) * per - p.count
  const zero = () => n.cast(n.fill([gap], n.scalar(0)), flat.dtype)
  const full = gap === 0 ? flat : n.concat(0, flat, zero())
  return n.bits(per === 1 ? full : n.reshape(full, wordsOf(p), per), DT.f32)
}

export interface Read {
  readonly value: Value | null
  readonly parts: Parts
}

/** The state as operands. f32 is the tensor's own id; of everything else a fresh one. */
export const readCell = (host: Host, n: Nodes, c: Cell): Read => {
  const { type } = c.state
  if (type.dtype === 'f32') return { value: raw(host, c.held[0]!.tensor, type.shape), parts: {} }
  const words = (h: Held) => raw(host, h.tensor, [wordsOf(h.part)])
  if (!isEncoded(type.dtype)) {
    const [h] = c.held
    return { value: unpacked(n, words(h!), h!.part, type.shape), parts: {} }
  }
  return {
    value: null,
    parts: Object.fromEntries(
      c.held.map((h) => [
        h.part.name,
        h.part.dtype === 'f32' && h.part.name !== 'offset'
          ? words(h)
          : unpacked(n, words(h), h.part, h.part.name === 'offset' ? [] : [h.part.count]),
      ]),
    ),
  }
}

/** What the state becomes, as an id that nothing else owns. */
export const packedCell = (n: Nodes, c: Cell, v: Value): Value =>
  c.state.type.dtype === 'f32' ? n.same(v) : packed(n, v, c.held[0]!.part)

export const settle = (host: Host, c: Cell, v: Value): void => {
  const [h] = c.held
  const old = h!.tensor
  h!.tensor = wrapped(host, { ...v, shape: shapeOf(c.state.type, h!.part) })
  old.dispose()
}

export const contents = (host: Host, c: Cell): Uint8Array => {
  const out = new Uint8Array(bytes(c.state.type))
  for (const { part, tensor } of c.held) {
    const words = host.backend.binding.tensorDataSync(raw(host, tensor, []).id)
    out.set(new Uint8Array(words.buffer, words.byteOffset, partBytes(part)), part.at)
  }
  return out
}

/** Said of what is no tf.Tensor. */
export const noDtype = (type: TensorType): string =>
  `${show(type)}, which is no dtype of tfjs's; \`read\` gives its bytes`

export const fill = (host: Host, c: Cell, given: Uint8Array): void => {
  for (const h of c.held) {
    // TensorFlow keeps the array itself, so it is one that nobody else has.
    const words = new Float32Array(wordsOf(h.part))
    new Uint8Array(words.buffer).set(given.subarray(h.part.at, h.part.at + partBytes(h.part)))
    const shape = shapeOf(c.state.type, h.part)
    const id = host.backend.binding.createTensor(shape, DT.f32, words)
    const old = h.tensor
    h.tensor = wrapped(host, { id, dtype: DT.f32, shape })
    old.dispose()
  }
}

export const dispose = (c: Cell): void => {
  for (const h of c.held) h.tensor.dispose()
}
