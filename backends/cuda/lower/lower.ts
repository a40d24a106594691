/** A program as a device runs it: launches with addresses in one arena. Pure: the same program and target give the same list. */
import type { Fn, Program, Role, State } from '../../../ir/graph.ts'
import { bytes, type TensorType } from '../../../ir/type.ts'
import { aligned } from '../../../passes/memory.ts'
import type { Launch } from '../launch.ts'
import { choose, type Chosen } from './choose.ts'
import { constantsOf, type Constants } from './constants.ts'
import { early } from './early.ts'
import { contextOf, type Context, type Span, type Target } from './context.ts'
import { layOut } from './place.ts'
import type { Rule } from './rule.ts'
import { rules as allRules } from './rules/index.ts'

export interface Port {
  readonly name: string
  readonly type: TensorType
  /** Byte offset in the arena. */
  readonly offset: number
}

export interface LoweredFn {
  readonly name: string
  readonly inputs: ReadonlyArray<Port>
  readonly outs: ReadonlyArray<Port>
  readonly launches: ReadonlyArray<Launch>
  /** Byte offset behind its temporaries. */
  readonly end: number
}

export interface Lowered {
  readonly program: Program
  readonly target: Target
  readonly state: ReadonlyMap<string, Port>
  readonly fns: ReadonlyArray<LoweredFn>
  /** Run once after state was written, before any function. */
  readonly constants: Constants
  readonly arenaBytes: number
}

/** State of one role lies together, in one order for parameters, gradients and moments. */
const order: ReadonlyArray<Role> = [
  'frozen',
  'cache',
  'scaler',
  'held',
  'train',
  'gradient',
  'optimizer',
]
/** Kernels may read a tile beyond the last row they use. */
const SLACK = 4096

/** `adam.m` of `adam.m.layers.0…`: tensors of one kind lie together. */
const kindOf = (s: State): string => (s.role === 'optimizer' ? s.name.split('.', 2).join('.') : '')

const placeState = (p: Program): ReadonlyMap<string, Port> => {
  const sorted = [...p.state].sort(
    (a, b) => order.indexOf(a.role) - order.indexOf(b.role) || kindOf(a).localeCompare(kindOf(b)),
  )
  let offset = 0
  return new Map(
    sorted.map((s) => {
      const port = { name: s.name, type: s.type, offset }
      offset += aligned(bytes(s.type))
      return [s.name, port]
    }),
  )
}

/** Kept in f32 whatever is computed in: what is trained, or would be. */
const isMaster = (s: State): boolean => s.role === 'train' || s.role === 'held'

/** From the first f32 master to the end of the last. */
export const mastersOf = (p: Program, state: ReadonlyMap<string, Port>): Span => {
  const ports = p.state.flatMap((s) =>
    isMaster(s) && s.type.dtype === 'f32' ? [state.get(s.name)!] : [],
  )
  const [first, last] = [ports[0], ports.at(-1)]
  return first === undefined || last === undefined
    ? { offset: 0, bytes: 0 }
    : { offset: first.offset, bytes: last.offset + bytes(last.type) - first.offset }
}

interface Chose extends Chosen {
  readonly f: Fn
  readonly c: Context
}

const lowerFn = (
  p: Program,
  { f, c, steps, joins }: Chose,
  state: ReadonlyMap<string, Port>,
  constants: Constants,
): LoweredFn => {
  const stateAt = new Map([...state].map(([name, s]) => [name, s.offset]))
  const layout = layOut(p, f, steps, joins, stateAt, constants.end, constants.at)
  const launches = steps.flatMap((s, i) =>
    s.works(layout.places(i)).map((work): Launch => ({
      ...work,
      rule: s.rule,
      group: work._tag === 'kernel' ? (groups[work.kernel.source] ?? s.group) : s.group,
      covers: s.covers,
    })),
  )
  const copies = layout.copies.map(({ state: name, key }): Launch => {
    const to = state.get(name)!
    return {
      _tag: 'copy',
      from: layout.rows(key).offset,
      to: to.offset,
      length: bytes(to.type),
      bytes: 2 * bytes(to.type),
      flops: 0,
      rule: 'store',
      group: 'other',
      covers: [],
    }
  })
  return {
    name: f.name,
    inputs: f.inputs.map((x) => ({
      name: x.name,
      type: x.type,
      offset: layout.rows(x.id).offset,
    })),
    outs: f.outs.map((o) => ({
      name: o.name,
      type: c.type(o.id),
      offset: layout.rows(o.id).offset,
    })),
    launches: early(c, [...launches, ...copies]),
    end: layout.end,
  }
}

/** Profile group of a kernel by its source, where it is always the same. */
const groups: Readonly<Record<string, string>> = {
  'nf4.cu': 'decode',
  'int8.cu': 'decode',
  'lora.cu': 'lora',
  'lora_mma.cu': 'lora',
  'norm.cu': 'norm',
  'norm_rows.cu': 'norm',
  'rope.cu': 'rope',
  'loss.cu': 'loss',
  'attention.cu': 'attention',
  'attention_mma.cu': 'attention',
  'attention_wgmma.cu': 'attention',
}

export const lower = (
  program: Program,
  target: Target,
  rules: ReadonlyArray<Rule> = allRules,
): Lowered => {
  const state = placeState(program)
  const base = program.state.reduce((n, s) => n + aligned(bytes(s.type)), 0)
  const masters = mastersOf(program, state)
  const chosen = program.fns.map((f): Chose => {
    const c = contextOf(program, f, target, masters)
    return { f, c, ...choose(c, rules) }
  })
  const constants = constantsOf(
    chosen.flatMap((x) => x.steps),
    (name) => state.get(name)!.offset,
    base,
  )
  const fns = chosen.map((x) => lowerFn(program, x, state, constants))
  return {
    program,
    target,
    state,
    fns,
    constants,
    arenaBytes: fns.reduce((m, f) => Math.max(m, f.end), constants.end) + SLACK,
  }
}
