/** Caches of generation are written in place: a model attends to them as they were and returns the new rows alone. */
import type { Eqn, Fn, Id, Program } from '../../ir/graph.ts'

/** An update that only adds rows to a cache: cacheWrite(cache, rows, positions). */
export interface CacheWrite {
  readonly cache: Id
  readonly rows: Id
  /** The function's input that says where. */
  readonly positions: string
}

/** A function's writes by the id of the new cache, which no equation makes. */
export type CacheWrites = ReadonlyMap<Id, CacheWrite>

/** The caches that are written in place, and how: their memory is [B, heads, C, dim], as attention reads it. */
export interface Caches {
  readonly heads: ReadonlyMap<string, number>
  readonly writes: (f: Fn) => CacheWrites
}

const none: Caches = { heads: new Map(), writes: () => new Map() }

/** Updates whose positions the caller knows. */
const writesOf = (f: Fn): CacheWrites => {
  const made = new Map(f.eqns.flatMap((e) => e.outs.map((o) => [o, e] as const)))
  const inputs = new Map(f.inputs.map((i) => [i.id, i.name]))
  const stateOf = new Map(f.reads.map((r) => [r.id, r.state]))
  const found = new Map<Id, CacheWrite>()
  for (const { state, id } of f.updates) {
    const e = made.get(id)
    if (e?.op !== 'cacheWrite' || f.updates.filter((u) => u.id === id).length > 1) continue
    const [cache, rows, at] = e.args as [Id, Id, Id]
    const positions = inputs.get(at)
    if (stateOf.get(cache) === state && positions !== undefined)
      found.set(id, { cache, rows, positions })
  }
  return found
}

/** Attention of one token a row, to keys and values written at its own position. */
const attends = (f: Fn, e: Eqn, writes: CacheWrites): boolean => {
  const [, k, v, positions] = e.args as [Id, Id, Id, Id]
  const input = f.inputs.find((i) => i.id === positions)
  return (
    e.op === 'cachedAttention' &&
    input?.type.shape[1] === 1 &&
    [k, v].every((x) => writes.get(x)?.positions === input.name)
  )
}

/** Caches a function attends to and with how many heads; null where it does anything else with them. */
const headsIn = (
  f: Fn,
  writes: CacheWrites,
  caches: ReadonlySet<string>,
): ReadonlyArray<readonly [state: string, heads: number]> | null => {
  const state = new Map([
    ...f.reads.map((r) => [r.id, r.state] as const),
    ...f.updates.map((u) => [u.id, u.state] as const),
  ])
  const held = (id: Id): boolean => caches.has(state.get(id) ?? '')
  const users = f.eqns.filter((e) => !writes.has(e.outs[0]!) && e.args.some(held))
  return f.outs.some((o) => held(o.id)) ||
    f.updates.some((u) => caches.has(u.state) && !writes.has(u.id)) ||
    users.some((e) => !attends(f, e, writes))
    ? null
    : users.flatMap((e) =>
        e.args.slice(1, 3).map((a) => [state.get(a)!, e.attrs['kvHeads'] as number] as const),
      )
}

/** All caches of a program when it only adds rows to them and attends to them, or none. */
export const cachesOf = (p: Program): Caches => {
  const writes = new Map(p.fns.map((f) => [f, writesOf(f)]))
  const written = new Set(
    p.fns.flatMap((f) => f.updates.filter((u) => writes.get(f)!.has(u.id)).map((u) => u.state)),
  )
  const heads = new Map<string, number>()
  for (const f of p.fns)
    for (const [state, count] of headsIn(f, writes.get(f)!, written) ?? [[null, 0] as const]) {
      if (state === null || (heads.get(state) ?? count) !== count) return none
      heads.set(state, count)
    }
  for (const state of written) if (!heads.has(state)) heads.set(state, 1)
  return { heads, writes: (f) => writes.get(f) ?? new Map() }
}

/** Memory of a float dtype. */
export type Elements = Float32Array | Uint16Array

/** Puts rows [B·T, heads·dim] into a cache kept as [B, heads, C, dim]; a position outside it is dropped. */
export const writeRows = (
  cache: Elements,
  shape: ReadonlyArray<number>,
  rows: Elements,
  positions: ArrayLike<number>,
): void => {
  const [batch, heads, capacity, dim] = shape as [number, number, number, number]
  const length = positions.length / batch
  for (let i = 0; i < positions.length; i++) {
    const at = positions[i]!
    if (at < 0 || at >= capacity) continue
    for (let h = 0; h < heads; h++) {
      const from = (i * heads + h) * dim
      const row = Math.floor(i / length) * heads + h
      cache.set(rows.subarray(from, from + dim), (row * capacity + at) * dim)
    }
  }
}

/** Exchanges the two middle axes of [B, a, b, row], rows being `width` bytes. */
export const exchanged = (
  bytes: Uint8Array,
  shape: readonly [batch: number, a: number, b: number],
  width: number,
): Uint8Array => {
  const [batch, a, b] = shape
  const out = new Uint8Array(bytes.byteLength)
  for (let r = 0, from = 0; r < batch; r++)
    for (let i = 0; i < a; i++)
      for (let j = 0; j < b; j++, from += width)
        out.set(bytes.subarray(from, from + width), ((r * b + j) * a + i) * width)
  return out
}
