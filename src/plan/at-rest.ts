/** What the base's weights take in each width they can lie in: the program decides which are linear, not how wide they are now. */
import { encodes, type Program, type State } from '../../ir/graph.ts'
import { bytes, like, type DType } from '../../ir/type.ts'
import { linearWeights } from '../../passes/linear.ts'

export interface AtRest {
  readonly name: string
  readonly bytes: number
  /** As this program holds them. */
  readonly own: boolean
}

interface Width {
  readonly name: string
  readonly holds: (d: DType) => boolean
  /** Linear weights, and all others. */
  readonly linear: DType
  readonly other: DType
}

const widths: ReadonlyArray<Width> = [
  { name: 'f32', holds: (d) => d === 'f32', linear: 'f32', other: 'f32' },
  { name: '16 bits', holds: (d) => d === 'bf16' || d === 'f16', linear: 'bf16', other: 'bf16' },
  { name: 'int8', holds: (d) => d === 'int8', linear: 'int8', other: 'bf16' },
  { name: 'nf4, double', holds: (d) => d === 'nf4/64/256', linear: 'nf4/64/256', other: 'bf16' },
]

const forwardOf = (p: Program): Program => ({
  ...p,
  fns: p.fns.map((f) => ({ ...f, eqns: f.eqns.filter((e) => e.place.stage === 'forward') })),
})

/** A weight of the base, or what an adapter has left of it. */
const loaded = ({ recipe }: State): boolean => {
  const r = encodes(recipe) ? recipe.of : recipe
  return r._tag === 'load' || (r._tag === 'split' && r.part === 'W')
}

export const atRest = (p: Program): ReadonlyArray<AtRest> => {
  const base = p.state.filter(loaded)
  const linear = new Set(linearWeights(forwardOf(p)).map((s) => s.name))
  const of = (s: State, w: Width): number =>
    bytes(like(s.type, linear.has(s.name) ? w.linear : w.other))
  return widths.map((w) => ({
    name: w.name,
    bytes: base.reduce((n, s) => n + of(s, w), 0),
    own: base.some((s) => linear.has(s.name) && w.holds(s.type.dtype)),
  }))
}
