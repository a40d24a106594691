/** What fusion rules look at: who makes and who reads each value of a function, and the device it is lowered for. */
import type { Eqn, Fn, Id, Program, State } from '../../../ir/graph.ts'
import { stateOf, typesOf } from '../../../ir/graph.ts'
import type { OpName } from '../../../ir/ops/index.ts'
import type { TensorType } from '../../../ir/type.ts'
import type { Room } from '../../backend.ts'

/**
 * `whole`: factors of rows and a sum in the product (Hopper). `factors`: the sum by a kernel behind it.
 * `sums`: the product hands out f32 sums, and a kernel does the rest.
 */
export type Float8Products = 'whole' | 'factors' | 'sums'

/** The device, as far as the choice of kernels depends on it. */
export interface Target extends Partial<Room> {
  /** 75, 80, 86, 89, 90, 120: compute capability × 10. */
  readonly arch: number
  /** Multiprocessors. */
  readonly sms: number
  /** Most bytes of shared memory of a block. */
  readonly shared: number
  /** How products of 8-bit floats are taken from the library; where not said, as the architecture's does. */
  readonly float8?: Float8Products
  /** Whether kernels of generation begin before the one ahead has ended (programmatic dependent launch), where the card can; also where not said. */
  readonly early?: boolean
}

/** Where a target does not say. */
export const usualRoom: Room = { scratch: 2 ** 28, keep: 0 }

export const scratchOf = (t: Target): number => t.scratch ?? usualRoom.scratch

/** Bytes of the arena. */
export interface Span {
  readonly offset: number
  readonly bytes: number
}

export interface Site {
  readonly eqn: Eqn
  readonly index: number
}

export interface Context {
  readonly program: Program
  readonly fn: Fn
  readonly target: Target
  /** Where the f32 masters of all trained parameters lie, one behind the other. */
  readonly masters: Span
  readonly types: ReadonlyMap<Id, TensorType>
  readonly state: (id: Id) => State | undefined
  /** The equation that makes a value. */
  readonly maker: (id: Id) => Site | undefined
  /** The equation that makes a value, if it is of this op. */
  readonly made: (id: Id, op: OpName) => Site | undefined
  readonly readers: (id: Id) => ReadonlyArray<Site>
  /** Whether the caller or a state update takes the value. */
  readonly returned: (id: Id) => boolean
  readonly type: (id: Id) => TensorType
}

export const contextOf = (program: Program, fn: Fn, target: Target, masters: Span): Context => {
  const types = typesOf(program, fn)
  const makers = new Map<Id, Site>()
  const readers = new Map<Id, Site[]>()
  fn.eqns.forEach((eqn, index) => {
    const site = { eqn, index }
    for (const o of eqn.outs) makers.set(o, site)
    for (const a of new Set(eqn.args)) readers.set(a, [...(readers.get(a) ?? []), site])
  })
  const states = stateOf(program)
  const reads = new Map(fn.reads.map((r) => [r.id, states.get(r.state)!]))
  const returned = new Set([...fn.outs, ...fn.updates].map((o) => o.id))
  return {
    program,
    fn,
    target,
    masters,
    types,
    state: (id) => reads.get(id),
    maker: (id) => makers.get(id),
    made: (id, op) => {
      const site = makers.get(id)
      return site?.eqn.op === op ? site : undefined
    },
    readers: (id) => readers.get(id) ?? [],
    returned: (id) => returned.has(id),
    type: (id) => types.get(id)!,
  }
}

/** The one equation that reads a value, if there is just one and nobody else takes it. */
export const soleReader = (c: Context, id: Id): Site | undefined => {
  const all = c.readers(id)
  return all.length === 1 && !c.returned(id) ? all[0] : undefined
}
