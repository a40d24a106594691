/** Where the bytes of a scheduled program go at its fullest moment. */
import type { Eqn, Fn, Id, Program, Role, State } from '../../ir/graph.ts'
import { bytes, isEncoded, parts, partBytes, size } from '../../ir/type.ts'
import type { Occupancy, Occupant } from '../../backends/cuda/lower/occupancy.ts'
import { machineOf, type Machine } from './machine.ts'

/** What a temporary that is no activation is there for. */
export type Scratch =
  | 'decoded weights'
  | 'recomputed'
  | 'gradients'
  | 'forward'
  | 'inputs'
  | 'op scratch'

/** A value made in the forward and read in the backward. */
export interface Activation {
  /** `attention`, `mlp`, `embed`, `head`, `loss`. */
  readonly part: string
  readonly op: string
  readonly bytes: number
}

export interface Moment {
  readonly fn: string
  readonly op: string
  readonly scope: string
  readonly stage: string
}

/** Bytes. The columns of the ladder add up to `total`. */
export interface Footprint {
  /** Frozen and trained tensors, and the loss scale. */
  readonly weights: number
  readonly gradients: number
  readonly optimizer: number
  /** Keys and values of generation. */
  readonly cache: number
  readonly activations: number
  /** Everything else alive at the fullest moment. */
  readonly workspace: number
  /** Alignment, and gaps between temporaries. */
  readonly padding: number
  /** What the backend takes besides the arena: of a GPU its context, libraries and their workspace. */
  readonly context: number
  /** The arena and the context. */
  readonly total: number
  readonly peak: Moment
  readonly scratch: { readonly [S in Scratch]: number }
  readonly kept: ReadonlyArray<Activation>
}

/** What is alive while the step runs at which most bytes are. */
const fullest = ({ list, steps }: Occupancy) => {
  const delta = new Float64Array(steps + 2)
  for (const b of list) {
    delta[b.from]! += b.bytes
    delta[b.to + 1]! -= b.bytes
  }
  let [now, most, at] = [0, -1, 0]
  for (let i = 0; i <= steps; i++) {
    now += delta[i]!
    if (now > most) [most, at] = [now, i]
  }
  return { at, most, alive: list.filter((b) => b.from <= at && at <= b.to) }
}

const sum = <T>(list: ReadonlyArray<T>, f: (x: T) => number): number =>
  list.reduce((n, x) => n + f(x), 0)

/** Which value a shared buffer holds at a moment: the last written until then. */
const held = (b: Occupant, at: number, makers: ReadonlyMap<Id, Made>): Id | undefined =>
  b.ids.length === 1 ? b.ids[0] : b.ids.findLast((id) => (makers.get(id)?.index ?? -1) <= at)

interface Made {
  readonly eqn: Eqn
  readonly index: number
}

const makersOf = (f: Fn): ReadonlyMap<Id, Made> =>
  new Map(f.eqns.flatMap((eqn, index) => eqn.outs.map((o) => [o, { eqn, index }] as const)))

const partOf = (scope: string): string => scope.split('.').at(-1)!

interface Use {
  readonly activations: ReadonlyArray<Activation>
  readonly scratch: Footprint['scratch']
}

const useOf = (f: Fn, alive: ReadonlyArray<Occupant>, at: number): Use => {
  const makers = makersOf(f)
  const state = new Set(f.reads.map((r) => r.id))
  const readBack = new Set(f.eqns.filter((e) => e.place.stage !== 'forward').flatMap((e) => e.args))
  const scratch = {
    'decoded weights': 0,
    recomputed: 0,
    gradients: 0,
    forward: 0,
    inputs: 0,
    'op scratch': 0,
  }
  const activations: Activation[] = []
  for (const b of alive) {
    const id = held(b, at, makers)
    const made = id === undefined ? undefined : makers.get(id)
    if (b.kept === true) scratch['decoded weights'] += b.bytes
    else if (id === undefined) scratch['op scratch'] += b.bytes
    else if (made === undefined) scratch.inputs += b.bytes
    else if (made.eqn.args.length > 0 && made.eqn.args.every((a) => state.has(a)))
      scratch['decoded weights'] += b.bytes
    else if (made.eqn.place.stage === 'recompute') scratch.recomputed += b.bytes
    else if (made.eqn.place.stage !== 'forward') scratch.gradients += b.bytes
    else if (readBack.has(id))
      activations.push({
        part: partOf(made.eqn.place.scope),
        op: made.eqn.op,
        bytes: b.bytes,
      })
    else scratch.forward += b.bytes
  }
  return { activations, scratch }
}

const roleBytes = (p: Program, ...roles: ReadonlyArray<Role>): number =>
  sum(p.state, (s) => (roles.includes(s.role) ? bytes(s.type) : 0))

const momentOf = (f: Fn, index: number | undefined): Moment => {
  const e = index === undefined ? undefined : f.eqns[index]
  return {
    fn: f.name,
    op: e?.op ?? '',
    scope: e?.place.scope ?? '',
    stage: e?.place.stage ?? 'forward',
  }
}

export const footprintOf = (p: Program, machine: Machine = machineOf(null)): Footprint => {
  const [first, ...others] = p.fns.map((f) => {
    const occupancy = machine.occupancy(p, f)
    return { f, occupancy, ...fullest(occupancy) }
  })
  const arena = machine.arena(p)
  const { f, at, alive, occupancy } = others.reduce((a, b) => (b.most > a.most ? b : a), first!)
  const { activations, scratch } = useOf(f, alive, at)
  const state = {
    weights: roleBytes(p, 'frozen', 'held', 'train', 'scaler'),
    gradients: roleBytes(p, 'gradient'),
    optimizer: roleBytes(p, 'optimizer'),
    cache: roleBytes(p, 'cache'),
  }
  const kept = sum(activations, (a) => a.bytes)
  const workspace = sum(Object.values(scratch), (n) => n)
  const used = sum(Object.values(state), (n) => n) + kept + workspace
  return {
    ...state,
    activations: kept,
    workspace,
    padding: arena - used,
    context: machine.overhead,
    total: arena + machine.overhead,
    peak: momentOf(f, occupancy.equationOf(at)),
    scratch,
    kept: activations,
  }
}

/** Bytes of the weights by how they are stored. */
export interface Weights {
  readonly codes: number
  readonly scales: number
  /** Scales of the scales (double quantization). */
  readonly nested: number
  readonly offsets: number
  /** Frozen tensors that are not quantized: embeddings, output head, norms; in 16 bits, and in f32. */
  readonly half: number
  readonly full: number
  /** Trained tensors, and how many numbers they are. */
  readonly trained: number
  readonly parameters: number
}

export const weightsOf = (p: Program): Weights => {
  const encoded = p.state.filter((s) => isEncoded(s.type.dtype)).flatMap((s) => parts(s.type))
  const part = (...names: ReadonlyArray<string>): number =>
    sum(encoded, (x) => (names.includes(x.name) ? partBytes(x) : 0))
  const plain = p.state.filter(
    (s) => (s.role === 'frozen' || s.role === 'held') && !isEncoded(s.type.dtype),
  )
  const wide = (s: State): boolean => s.type.dtype === 'f32'
  const train = p.state.filter((s) => s.role === 'train')
  return {
    codes: part('codes'),
    scales: part('scales'),
    nested: part('nested'),
    offsets: part('offset'),
    half: sum(plain, (s) => (wide(s) ? 0 : bytes(s.type))),
    full: sum(plain, (s) => (wide(s) ? bytes(s.type) : 0)),
    trained: sum(train, (s) => bytes(s.type)),
    parameters: sum(train, (s) => size(s.type)),
  }
}
