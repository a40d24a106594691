/** Liveness over steps, and the arena: values side by side share a buffer, results lie over operands that die, everything gets a byte offset. */
import type { Fn, Program } from '../../../ir/graph.ts'
import { bytes, size, type TensorType } from '../../../ir/type.ts'
import { aligned, place, type Buffer } from '../../../passes/memory.ts'
import type { Rows } from '../kernels/card.ts'
import type { Join, Key, Places, Step } from './step.ts'

/** A value inside a buffer. */
interface Slot {
  readonly buffer: number
  /** Bytes from the buffer's start. */
  readonly at: number
  readonly ld: number
  readonly room: number
}

export interface Layout {
  /** Addresses of a step's operands. */
  readonly places: (step: number) => Places
  /** Updates that could not be made in place: copied after the last step. */
  readonly copies: ReadonlyArray<{ readonly state: string; readonly key: Key }>
  /** Byte offset behind the last temporary. */
  readonly end: number
  readonly rows: (key: Key) => Rows
}

const widthOf = (t: TensorType): number => t.shape.at(-1) ?? 1
const alone = (t: TensorType) => ({ ld: widthOf(t), room: widthOf(t) })
const elementBytes = (t: TensorType): number => bytes(t) / Math.max(1, size(t))

interface Lives {
  readonly last: ReadonlyMap<Key, number>
  readonly maker: ReadonlyMap<Key, number>
}

const livesOf = (f: Fn, steps: ReadonlyArray<Step>): Lives => {
  const last = new Map<Key, number>()
  const maker = new Map<Key, number>()
  steps.forEach((s, i) => {
    for (const r of s.reads) last.set(r, i)
    for (const w of s.writes) maker.set(w.key, i)
  })
  for (const o of [...f.outs, ...f.updates]) last.set(o.id, steps.length)
  return { last, maker }
}

/** Which updates are written straight over the state they replace. */
const inPlace = (
  f: Fn,
  steps: ReadonlyArray<Step>,
  { last, maker }: Lives,
  joined: ReadonlySet<Key>,
): ReadonlyMap<Key, string> => {
  const read = new Map(f.reads.map((r) => [r.state, r.id]))
  const returned = new Set(f.outs.map((o) => o.id))
  const chosen = new Map<Key, string>()
  for (const u of f.updates) {
    const made = maker.get(u.id)
    const old = read.get(u.state)
    if (made === undefined || chosen.has(u.id) || returned.has(u.id) || joined.has(u.id)) continue
    const over = steps[made]!.over.some(([w, r]) => w === u.id && r === old)
    const until = old === undefined ? -1 : (last.get(old) ?? -1)
    if (until < made || (over && until === made)) chosen.set(u.id, u.state)
  }
  return chosen
}

/** Lays out the temporaries of a function from byte `base` on; state lies where `stateAt` says. */
export const layOut = (
  p: Program,
  f: Fn,
  steps: ReadonlyArray<Step>,
  joins: ReadonlyArray<Join>,
  stateAt: ReadonlyMap<string, number>,
  base: number,
  constantAt: ReadonlyMap<string, number> = new Map(),
): Layout => {
  const lives = livesOf(f, steps)
  const joinOf = new Map(joins.flatMap((j) => j.members.map((m) => [m.key, { j, m }] as const)))
  const placed = inPlace(f, steps, lives, new Set(joinOf.keys()))
  const stateTypes = new Map(p.state.map((s) => [s.name, s.type]))
  const buffers: Array<{ ids: never[]; bytes: number; from: number; to: number }> = []
  const slots = new Map<Key, Slot>()
  const fixed = new Map<Key, Rows>()
  const bufferOfJoin = new Map<Join, number>()
  const scratch: number[][] = []
  const until = (key: Key, from: number): number => lives.last.get(key) ?? from
  const open = (n: number, from: number, to: number): number =>
    buffers.push({ ids: [], bytes: n, from, to }) - 1
  const settle = (key: Key, slot: Slot, i: number): void => {
    slots.set(key, slot)
    buffers[slot.buffer]!.to = Math.max(buffers[slot.buffer]!.to, until(key, i))
  }
  for (const r of f.reads)
    fixed.set(r.id, { offset: stateAt.get(r.state)!, ld: widthOf(stateTypes.get(r.state)!) })
  // One block, so that one copy brings them all.
  const block = f.inputs.reduce((n, x) => n + aligned(bytes(x.type)), 0)
  const inputBlock = f.inputs.length === 0 ? -1 : open(block, 0, steps.length)
  let filled = 0
  for (const x of f.inputs) {
    settle(x.id, { buffer: inputBlock, at: filled, ...alone(x.type) }, 0)
    filled += aligned(bytes(x.type))
  }
  const inputs = new Set<Key>(f.inputs.map((x) => x.id))
  const given = new Set<Key>([...f.outs, ...f.updates].map((o) => o.id))
  steps.forEach((s, i) => {
    const taken = new Set<Key>()
    for (const w of s.writes) {
      const state = placed.get(w.key)
      if (state !== undefined) {
        fixed.set(w.key, { offset: stateAt.get(state)!, ld: widthOf(w.type) })
        continue
      }
      const joined = joinOf.get(w.key)
      if (joined !== undefined) {
        const { j, m } = joined
        if (!bufferOfJoin.has(j)) bufferOfJoin.set(j, open(j.bytes, i, i))
        const at = m.column * elementBytes(w.type)
        settle(w.key, { buffer: bufferOfJoin.get(j)!, at, ld: j.ld, room: j.ld - m.column }, i)
        continue
      }
      const victim = s.over.find(
        ([key, old]) =>
          key === w.key &&
          slots.has(old) &&
          !inputs.has(old) &&
          !taken.has(old) &&
          // What the caller takes lies without gaps.
          (!given.has(w.key) || slots.get(old)!.ld === widthOf(w.type)) &&
          lives.last.get(old) === i,
      )?.[1]
      if (victim !== undefined) {
        taken.add(victim)
        settle(w.key, slots.get(victim)!, i)
      } else settle(w.key, { buffer: open(bytes(w.type), i, i), at: 0, ...alone(w.type) }, i)
    }
    scratch.push(s.scratch.map((n) => open(n, i, i)))
  })
  const at = place(buffers satisfies ReadonlyArray<Buffer>)
  const rows = (key: Key): Rows => {
    const known = fixed.get(key)
    if (known !== undefined) return known
    const slot = slots.get(key)
    // A bug of ours: a step reads what no step makes.
    if (slot === undefined) throw new Error(`nothing makes ${String(key)} in @${f.name}`)
    return { offset: base + at[slot.buffer]! + slot.at, ld: slot.ld }
  }
  return {
    rows,
    places: (step) => ({
      rows,
      offset: (key) => rows(key).offset,
      room: (key) => slots.get(key)?.room ?? rows(key).ld,
      scratch: (k) => base + at[scratch[step]![k]!]!,
      constant: (key) => constantAt.get(key)!,
    }),
    copies: f.updates
      .filter((u) => placed.get(u.id) !== u.state)
      .map((u) => ({ state: u.state, key: u.id })),
    end: buffers.reduce((m, b, i) => Math.max(m, base + at[i]! + aligned(b.bytes)), base),
  }
}
