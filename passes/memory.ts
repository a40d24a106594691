/** Liveness and the arena: when every value is needed, and where it lies. */
import type { Fn, Id, Program } from '../ir/graph.ts'
import { stateOf, typesOf } from '../ir/graph.ts'
import { opOf } from '../ir/ops/index.ts'
import { bytes } from '../ir/type.ts'

/** Offsets are multiples of this many bytes, as CUDA allocations are. */
export const ALIGNMENT = 256
export const aligned = (n: number): number => Math.ceil(n / ALIGNMENT) * ALIGNMENT

/** A stretch of memory: from the equation that makes a value to the last that reads it. */
export interface Buffer {
  /** The values that share it, one written over the other. */
  readonly ids: ReadonlyArray<Id>
  readonly bytes: number
  readonly from: number
  readonly to: number
}

/** Index of the last equation that reads each value; outputs and updates are read after the last. */
const lastReads = (f: Fn): ReadonlyMap<Id, number> => {
  const last = new Map<Id, number>()
  f.eqns.forEach((e, i) => e.args.forEach((a) => last.set(a, i)))
  for (const o of [...f.outs, ...f.updates]) last.set(o.id, f.eqns.length)
  return last
}

/** Updates that can be written straight over the state they replace. */
const inPlaceUpdates = (f: Fn, last: ReadonlyMap<Id, number>): ReadonlyMap<Id, string> => {
  const read = new Map(f.reads.map((r) => [r.state, r.id]))
  const returned = new Set(f.outs.map((o) => o.id))
  const made = new Map(f.eqns.flatMap((e, i) => e.outs.map((o, k) => [o, { e, i, k }] as const)))
  const chosen = new Map<Id, string>()
  for (const u of f.updates) {
    const maker = made.get(u.id)
    const old = read.get(u.state)
    if (maker === undefined || chosen.has(u.id) || returned.has(u.id)) continue
    const over = opOf(maker.e.op).overwrites?.[maker.k]
    // Free to overwrite: the old value is the argument written over, or is read by no later equation.
    const elementwise = over !== undefined && maker.e.args[over] === old
    const sole = maker.e.args.filter((a) => a === old).length === 1
    const dead = old === undefined || (last.get(old) ?? -1) < maker.i
    if (dead || (elementwise && sole && last.get(old!) === maker.i)) chosen.set(u.id, u.state)
  }
  return chosen
}

/** Every temporary of a function, results that can be written over an argument sharing its buffer. */
export const buffers = (p: Program, f: Fn): ReadonlyArray<Buffer> => {
  const types = typesOf(p, f)
  const last = lastReads(f)
  const placed = inPlaceUpdates(f, last)
  const bufferOf = new Map<Id, number>()
  const list: Array<{ ids: Id[]; bytes: number; from: number; to: number }> = []
  const open = (id: Id, from: number): void => {
    bufferOf.set(id, list.length)
    list.push({ ids: [id], bytes: bytes(types.get(id)!), from, to: last.get(id) ?? from })
  }
  for (const i of f.inputs) open(i.id, 0)
  f.eqns.forEach((e, i) => {
    const op = opOf(e.op)
    const taken = new Set<number>()
    e.outs.forEach((o, k) => {
      if (placed.has(o)) return
      const over = op.overwrites?.[k]
      const victim = over === undefined ? undefined : e.args[over]
      const b = victim === undefined ? undefined : bufferOf.get(victim)
      const reusable =
        b !== undefined &&
        !taken.has(b) &&
        last.get(victim!) === i &&
        list[b]!.ids.at(-1) === victim &&
        list[b]!.bytes === bytes(types.get(o)!) &&
        e.args.filter((a) => a === victim).length === 1 &&
        f.inputs.every((x) => x.id !== victim)
      if (!reusable) return open(o, i)
      taken.add(b)
      bufferOf.set(o, b)
      list[b]!.ids.push(o)
      list[b]!.to = last.get(o) ?? i
    })
    const scratch =
      op.workspace?.(
        e.attrs,
        e.args.map((a) => types.get(a)!),
      ) ?? 0
    if (scratch > 0) list.push({ ids: [], bytes: scratch, from: i, to: i })
  })
  return list
}

/** Lowest place for each buffer such that no two that live at once overlap; larger ones first. */
export const place = (list: ReadonlyArray<Buffer>): ReadonlyArray<number> => {
  const order = list.map((_, i) => i).sort((a, b) => list[b]!.bytes - list[a]!.bytes || a - b)
  const at = list.map(() => 0)
  const done: number[] = []
  for (const i of order) {
    const b = list[i]!
    const near = done
      .filter((j) => list[j]!.from <= b.to && b.from <= list[j]!.to)
      .sort((x, y) => at[x]! - at[y]!)
    let free = 0
    for (const j of near) {
      if (free + b.bytes <= at[j]!) break
      free = Math.max(free, at[j]! + aligned(list[j]!.bytes))
    }
    at[i] = free
    done.push(i)
  }
  return at
}

/** Bytes of all state, each tensor aligned. */
export const stateBytes = (p: Program): number =>
  p.state.reduce((n, s) => n + aligned(bytes(s.type)), 0)

/** The most bytes of temporaries alive at once: no placement can need less. */
export const liveBytes = (list: ReadonlyArray<Buffer>, eqns: number): number => {
  const delta = new Float64Array(eqns + 2)
  for (const b of list) {
    delta[b.from]! += aligned(b.bytes)
    delta[b.to + 1]! -= aligned(b.bytes)
  }
  let [now, most] = [0, 0]
  for (const d of delta) {
    now += d
    most = Math.max(most, now)
  }
  return most
}

/** Peak of temporaries of a function, by liveness. */
export const peakOf = (p: Program, f: Fn): number => liveBytes(buffers(p, f), f.eqns.length)

/** Byte offset of every id of a function: state as given, temporaries from `base` on; and where they end. */
export const layOut = (
  p: Program,
  f: Fn,
  base: number,
): { readonly offsets: ReadonlyMap<Id, number>; readonly end: number } => {
  const list = buffers(p, f)
  const at = place(list)
  const states = stateOf(p)
  const offsets = new Map<Id, number>()
  for (const [id, state] of inPlaceUpdates(f, lastReads(f)))
    offsets.set(id, states.get(state)!.offset!)
  list.forEach((b, i) => b.ids.forEach((id) => offsets.set(id, base + at[i]!)))
  return {
    offsets,
    end: list.reduce((m, b, i) => Math.max(m, base + at[i]! + aligned(b.bytes)), base),
  }
}
