/** The memory of a session: state tensors, their spare copies, and the views of both that models are fed. */
import type { Program, State } from '../../ir/graph.ts'
import { bytes, isEncoded, parts, size, type Plain, type TensorType } from '../../ir/type.ts'
import { exchanged, writeRows, type Caches, type CacheWrite, type Elements } from './cache.ts'
import { elementType, storedType } from './emit.ts'
import { partName } from './quant.ts'
import type { BorderType, Runtime, Tensor } from './session.ts'

/** Memory of a plain dtype as the array type onnxruntime wants. */
export const viewOf = (dtype: Plain, memory: ArrayBuffer, at: number, count: number) => {
  const make = {
    f32: () => new Float32Array(memory, at, count),
    f16: () => new Uint16Array(memory, at, count),
    bf16: () => new Uint16Array(memory, at, count),
    i32: () => new Int32Array(memory, at, count),
    i8: () => new Int8Array(memory, at, count),
    u8: () => new Uint8Array(memory, at, count),
    bool: () => new Uint8Array(memory, at, count),
  } satisfies { [K in Plain]: () => unknown }
  return make[dtype]()
}

const tensorAt = (
  rt: Runtime,
  dtype: Plain,
  shape: ReadonlyArray<number>,
  memory: ArrayBuffer,
  at: number,
  count: number,
): Tensor => rt.tensor(elementType[dtype] as BorderType, shape, viewOf(dtype, memory, at, count))

/** A tensor of a plain type in memory of its own. */
export const blank = (rt: Runtime, t: TensorType): Tensor =>
  tensorAt(rt, t.dtype as Plain, t.shape, new ArrayBuffer(bytes(t)), 0, size(t))

/** A state tensor: its bytes, and the tensors over them that models are fed. */
interface Slot {
  readonly memory: ArrayBuffer
  readonly feeds: Readonly<Record<string, Tensor>>
}

const slotOf = (rt: Runtime, name: string, type: TensorType): Slot => {
  const memory = new ArrayBuffer(bytes(type))
  if (!isEncoded(type.dtype))
    return {
      memory,
      feeds: { [name]: tensorAt(rt, type.dtype, type.shape, memory, 0, size(type)) },
    }
  return {
    memory,
    feeds: Object.fromEntries(
      parts(type).map((p) => [
        partName(name, p.name),
        tensorAt(rt, p.dtype, p.name === 'offset' ? [] : [p.count], memory, p.at, p.count),
      ]),
    ),
  }
}

/** State that some function replaces has two slots: one is read while the other is written. */
export interface Cell {
  readonly state: State
  /** Heads of a cache that is written in place. */
  readonly heads: number | null
  now: Slot
  next: Slot | null
}

/** Zeroed memory for all state of a program. */
export const cellsOf = (rt: Runtime, p: Program, caches: Caches): ReadonlyMap<string, Cell> => {
  const replaced = new Set(
    p.fns.flatMap((f) => f.updates.filter((u) => !caches.writes(f).has(u.id)).map((u) => u.state)),
  )
  return new Map(
    p.state.map((state) => {
      const slot = () => slotOf(rt, state.name, storedType(state, caches.heads))
      const next = replaced.has(state.name) ? slot() : null
      return [state.name, { state, heads: caches.heads.get(state.name) ?? null, now: slot(), next }]
    }),
  )
}

/** Bytes of one head of one row of a cache. */
const headBytes = ({ state, heads }: Cell): number =>
  bytes({ ...state.type, shape: [state.type.shape[2]! / heads!] })

/** The bytes of a state tensor as its type lays them out. */
export const contents = (cell: Cell): Uint8Array => {
  const stored = new Uint8Array(cell.now.memory)
  if (cell.heads === null) return stored.slice()
  const [batch, capacity] = cell.state.type.shape as [number, number]
  return exchanged(stored, [batch, cell.heads, capacity], headBytes(cell))
}

/** Puts bytes of the right length into a state tensor. */
export const fill = (cell: Cell, given: Uint8Array): void => {
  const [batch, capacity] = cell.state.type.shape as [number, number]
  new Uint8Array(cell.now.memory).set(
    cell.heads === null ? given : exchanged(given, [batch, capacity, cell.heads], headBytes(cell)),
  )
}

/** Where an update lands: the spare memory of its state, or a cache's new rows on their own. */
export const landing = (
  rt: Runtime,
  cell: Cell,
  write: CacheWrite | undefined,
  type: TensorType,
): Tensor => (write === undefined ? cell.next!.feeds[cell.state.name]! : blank(rt, type))

/** Makes an update that has landed the state's value. */
export const settle = (
  cell: Cell,
  landed: Tensor,
  positions: ArrayLike<number> | undefined,
): void => {
  if (positions === undefined) {
    ;[cell.now, cell.next] = [cell.next!, cell.now]
    return
  }
  const { data, dims } = cell.now.feeds[cell.state.name]!
  writeRows(data as Elements, dims, landed.data as Elements, positions)
}
