/** A program: named functions, each a list of equations in dependency order, over one shared state. */
import type { Split } from './factors.ts'
import type { OpName } from './ops/index.ts'
import type { TensorType } from './type.ts'

/** Names a value inside one function. */
export type Id = number

/** How values are encoded; the dtype says in what blocks. */
export type Encoding = 'nf4' | 'int8'

/** How a state tensor gets its first value. Passes rewrite recipes; only a backend touches data. */
export type Recipe =
  | { readonly _tag: 'load'; readonly key: string }
  | { readonly _tag: Encoding; readonly of: Recipe }
  | { readonly _tag: 'fill'; readonly value: number }
  /** U(−1/√in, 1/√in), PEFT's initialisation of LoRA's A, seeded by the run's seed and the tensor's name. */
  | { readonly _tag: 'kaiming' }
  /** Normal with this deviation, seeded likewise. */
  | { readonly _tag: 'normal'; readonly deviation: number }
  /** A or B of the adapter beside a weight of this shape, taken out of it, or what is left of the weight (`factors.ts`). */
  | {
      readonly _tag: 'split'
      readonly by: Split
      readonly part: 'A' | 'B' | 'W'
      readonly of: string
      readonly shape: readonly [number, number]
      readonly r: number
      readonly scale: number
    }
  /** The length of each row of a matrix of this type. */
  | { readonly _tag: 'norms'; readonly of: Recipe; readonly type: TensorType }
  /** A or B of the adapter beside a module, both random and B·A = 0. */
  | { readonly _tag: 'orthogonal'; readonly part: 'A' | 'B'; readonly of: string }

export type Encoder = Extract<Recipe, { readonly _tag: Encoding }>
export const encodes = (r: Recipe): r is Encoder => r._tag === 'nf4' || r._tag === 'int8'

/** Why a tensor is kept between calls; the memory report sums by it. `held`: trained otherwise, and saved with what is. */
export type Role = 'frozen' | 'held' | 'train' | 'gradient' | 'optimizer' | 'scaler' | 'cache'

export interface State {
  readonly name: string
  readonly type: TensorType
  readonly role: Role
  readonly recipe: Recipe
  /** Byte offset in the arena, once scheduled. */
  readonly offset?: number
}

export type AttrValue = number | boolean | string | ReadonlyArray<number>
export type Attrs = { readonly [key: string]: AttrValue }

/** `forward` computes, `backward` differentiates, `recompute` repeats forward work to save memory, `update` changes parameters. */
export type Stage = 'forward' | 'backward' | 'recompute' | 'update'

/** Where an equation belongs: a part of the model and a stage of the step. */
export interface Place {
  readonly scope: string
  readonly stage: Stage
}

export interface Eqn {
  readonly outs: ReadonlyArray<Id>
  readonly op: OpName
  readonly args: ReadonlyArray<Id>
  readonly attrs: Attrs
  readonly types: ReadonlyArray<TensorType>
  readonly place: Place
}

export interface Input {
  readonly id: Id
  readonly name: string
  readonly type: TensorType
}

export interface Fn {
  readonly name: string
  readonly inputs: ReadonlyArray<Input>
  /** The state this function reads, under its local ids. */
  readonly reads: ReadonlyArray<{ readonly id: Id; readonly state: string }>
  readonly eqns: ReadonlyArray<Eqn>
  /** What the caller gets. */
  readonly outs: ReadonlyArray<{ readonly name: string; readonly id: Id }>
  /** What state becomes: functions are pure, the backend stores these. */
  readonly updates: ReadonlyArray<{ readonly state: string; readonly id: Id }>
  /** The output that training minimizes; only such functions are differentiated. */
  readonly minimizes?: string
  /** Byte offset of each equation result in the arena, once scheduled. */
  readonly offsets?: ReadonlyMap<Id, number>
}

export interface Program {
  readonly name: string
  readonly state: ReadonlyArray<State>
  readonly fns: ReadonlyArray<Fn>
}

export const stateOf = (p: Program): ReadonlyMap<string, State> =>
  new Map(p.state.map((s) => [s.name, s]))

export const fnOf = (p: Program, name: string): Fn | undefined => p.fns.find((f) => f.name === name)

/** Type of every value of a function. */
export const typesOf = (p: Program, f: Fn): Map<Id, TensorType> => {
  const state = stateOf(p)
  const types = new Map<Id, TensorType>(f.inputs.map((i) => [i.id, i.type]))
  for (const r of f.reads) {
    const s = state.get(r.state)
    if (s !== undefined) types.set(r.id, s.type)
  }
  for (const e of f.eqns) e.outs.forEach((o, i) => types.set(o, e.types[i]!))
  return types
}
