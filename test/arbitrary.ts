/** Random well-typed programs: grown totally from a list of small records, so shrinking the list shrinks the program. */
import * as E from 'fp-ts/lib/Either.js'
import { builder, type Builder } from '../ir/build.ts'
import type { Attrs, AttrValue, Id, Program, State } from '../ir/graph.ts'
import { opNames, opOf, type OpName } from '../ir/ops/index.ts'
import { isEncoded, isFourBit, isFloat, show, tensor, type TensorType } from '../ir/type.ts'
import { fc } from './fc.ts'

/** Which op, which of its attributes, which accepted operand types, which values of those types. */
export interface Choice {
  readonly kind: number
  readonly variant: number
  readonly fit: number
  readonly pick: number
}

const choice: fc.Arbitrary<Choice> = fc.record({
  kind: fc.nat(97),
  variant: fc.nat(11),
  fit: fc.nat(60),
  pick: fc.nat(15),
})

/** Values of attributes worth trying; an attribute without a row keeps the value of the op's example. */
const attributeValues: { readonly [key: string]: ReadonlyArray<AttrValue> } = {
  heads: [2, 1],
  kvHeads: [1, 2],
  dim: [2, 4],
  vocab: [3],
  count: [3],
  to: ['f32', 'bf16', 'f16'],
  by: [2, -1, 0.5, 1],
  value: [0.5, -2],
  rate: [0, 0.5],
  eps: [1e-5],
  ta: [false, true],
  tb: [true, false],
  left: ['e4m3', 'e5m2'],
  inverse: [false, true],
  shape: [[4], [2, 4]],
}

/** All attributes tried for an op. */
export const variants = (name: OpName): ReadonlyArray<Attrs> =>
  Object.entries(opOf(name).examples[0]!.attrs as Attrs).reduce<ReadonlyArray<Attrs>>(
    (made, [key, given]) =>
      made.flatMap((a) => (attributeValues[key] ?? [given]).map((v) => ({ ...a, [key]: v }))),
    [{}],
  )

const tuples = (
  types: ReadonlyArray<TensorType>,
  arity: number,
): ReadonlyArray<ReadonlyArray<TensorType>> =>
  arity === 0 ? [[]] : tuples(types, arity - 1).flatMap((rest) => types.map((t) => [...rest, t]))

const accepted = new Map<string, ReadonlyArray<ReadonlyArray<TensorType>>>()

/** The operand types among `types` that an op's typing rule accepts. */
export const fits = (
  name: OpName,
  attrs: Attrs,
  types: ReadonlyArray<TensorType>,
): ReadonlyArray<ReadonlyArray<TensorType>> => {
  const key = `${name} ${JSON.stringify(attrs)} ${types.map(show).join()}`
  const known = accepted.get(key)
  if (known !== undefined) return known
  const { arity, infer } = opOf(name)
  const found = tuples(types, arity).filter((args) => E.isRight(infer(attrs, args)))
  accepted.set(key, found)
  return found
}

/** A value that exists once it is asked for: unused inputs and state do not appear in the program. */
interface Value {
  readonly type: TensorType
  readonly get: () => Id
  /** Made by an equation. */
  readonly derived: boolean
}

export interface Growth {
  /** Ops that may occur. */
  readonly ops: (name: OpName) => boolean
  /** Whether state is updated at the end. */
  readonly updates: boolean
}

interface World {
  readonly b: Builder
  readonly state: State[]
  readonly pool: Value[]
  readonly grid: TensorType
}

const grids = [tensor('i32', 1, 3), tensor('i32', 2, 2), tensor('i32', 1, 5)]

const declare = (w: World, s: State): Value => ({
  type: s.type,
  derived: false,
  get: () => {
    if (!w.state.includes(s)) w.state.push(s)
    return w.b.read(s)
  },
})

const load = (name: string, type: TensorType, train: boolean): State => ({
  name,
  type,
  role: train ? 'train' : 'frozen',
  recipe: isEncoded(type.dtype)
    ? { _tag: isFourBit(type.dtype) ? 'nf4' : 'int8', of: { _tag: 'load', key: name } }
    : { _tag: 'load', key: name },
})

/** Starts with an embedding, so that activations are matrices with one row per token. */
const start = (g: number, train: boolean): World => {
  const grid = grids[g % grids.length]!
  const w: World = { b: builder(), state: [], pool: [], grid }
  const input = (name: string, type: TensorType): Value => ({
    type,
    derived: false,
    get: () => w.b.input(name, type),
  })
  const table = declare(w, load('embed.weight', tensor('f32', 3, 4), train))
  const cache: State = {
    name: 'cache',
    type: tensor('f32', grid.shape[0]!, 6, 4),
    role: 'cache',
    recipe: { _tag: 'fill', value: 0.25 },
  }
  const inputs = ['tokens', 'positions', 'segments', 'targets'].map((n) => input(n, grid))
  const first = w.b.at({ scope: 'embed' }, () => w.b.alg.embed(table.get(), inputs[0]!.get()))
  w.pool.push(
    table,
    ...inputs,
    input('rows', tensor('i32', 2)),
    input('seed', tensor('i32')),
    input('keys', tensor('i32', grid.shape[0]! * grid.shape[1]!)),
    input('factor', tensor('f32')),
    declare(w, cache),
    declare(w, load('coded.weight', tensor('nf4/64', 4, 4), false)),
    declare(w, load('bytes.weight', tensor('int8', 4, 4), false)),
    { type: w.b.typeOf(first), get: () => first, derived: true },
  )
  return w
}

const distinct = (types: ReadonlyArray<TensorType>): ReadonlyArray<TensorType> => [
  ...new Map(types.map((t) => [show(t), t])).values(),
]

/** Types of weights that could be made for the activations there are. */
const freshTypes = (w: World): ReadonlyArray<TensorType> =>
  w.pool.flatMap(({ type: { dtype, shape } }) =>
    dtype === 'f32' && shape.length === 2
      ? [tensor('f32', 2, shape[1]!), tensor('f32', 4, shape[1]!), tensor('f32', shape[1]!)]
      : [],
  )

/** The first operand is an equation's result where there is one; the others may be fresh weights. */
const operand = (w: World, c: Choice, name: string, type: TensorType, at: number): Id => {
  const there = w.pool.filter((v) => show(v.type) === show(type)).toReversed()
  const derived = there.filter((v) => v.derived)
  const from = at === 0 && derived.length > 0 ? derived : there
  // Newest first, so that small numbers chain equations; one past the end is a fresh weight.
  const i = (c.pick + at * 5) % (from.length + (isFloat(type.dtype) && at > 0 ? 1 : 0))
  const known = from[i]
  if (known !== undefined) return known.get()
  const made = declare(w, load(`${name}.${at}.weight`, type, c.pick % 2 === 0))
  if (c.pick % 3 === 0) w.pool.push(made)
  return made.get()
}

/** The tuples whose first operand an equation has made, if there are any: programs become deep, not wide. */
const connected = (
  w: World,
  all: ReadonlyArray<ReadonlyArray<TensorType>>,
): ReadonlyArray<ReadonlyArray<TensorType>> => {
  const made = new Set(w.pool.flatMap((v) => (v.derived ? [show(v.type)] : [])))
  const chained = all.filter((args) => args[0] !== undefined && made.has(show(args[0])))
  return chained.length > 0 ? chained : all
}

/** Adds one equation if some op accepts what there is; every choice is meaningful or does nothing. */
const extend = (w: World, names: ReadonlyArray<OpName>, c: Choice, step: number): void => {
  const name = names[c.kind % names.length]!
  const { arity } = opOf(name)
  const attrs = variants(name)[c.variant % variants(name).length]!
  const types = distinct([...w.pool.map((v) => v.type), ...(arity < 4 ? freshTypes(w) : [])])
  const found = connected(w, fits(name, attrs, types))
  if (found.length === 0) return
  const scope = step % 2 === 0 ? `layers.${Math.floor(step / 4)}.part` : 'head'
  w.b.at({ scope }, () => {
    const args = found[c.fit % found.length]!.map((t, i) => operand(w, c, `w${step}`, t, i))
    for (const id of w.b.emit(name, attrs, ...args)) {
      const type = w.b.typeOf(id)
      // What an index could point past the end of stays out: computed integers, tables of one row.
      if (type.dtype !== 'i32' && (type.shape.length !== 2 || type.shape[0]! > 1))
        w.pool.push({ type, get: () => id, derived: true })
    }
  })
}

/** Ops with more operands than this occur through differentiation and the optimizer alone. */
const MOST_OPERANDS = 4

export const grow =
  (o: Growth) =>
  (grid: number, choices: ReadonlyArray<Choice>): Program => {
    const names = opNames.filter((n) => opOf(n).arity <= MOST_OPERANDS && o.ops(n))
    const w = start(grid, choices.length % 2 === 0)
    choices.forEach((c, i) => extend(w, names, c, i))
    const { b } = w
    const made = w.pool.filter((v) => v.derived)
    const leaves = made.filter((v) => isFloat(v.type.dtype)).slice(-4)
    const loss = b.at({ scope: 'loss' }, () =>
      leaves
        .map((v, i) => b.alg.scale(0.5 ** i, b.alg.sum(v.get())))
        .reduce((x, y) => b.alg.add(x, y)),
    )
    const updates = w.state.flatMap((s, i) => {
      const next = made.filter((v) => show(v.type) === show(s.type))
      return o.updates && next.length > 0
        ? [{ state: s.name, id: next[(i + choices.length) % next.length]!.get() }]
        : []
    })
    const outs = made.slice(-5).map((v, i) => ({ name: `y${i}`, id: v.get() }))
    const fn = b.done({
      name: 'step',
      outs: [{ name: 'loss', id: loss }, ...outs],
      updates,
      minimizes: 'loss',
    })
    return { name: 'random', state: w.state, fns: [fn] }
  }

const grown = (o: Growth, maxLength = 8): fc.Arbitrary<Program> =>
  fc
    .tuple(fc.nat(2), fc.array(choice, { maxLength }))
    .map(([grid, choices]) => grow(o)(grid, choices))

/** Any op of at most four operands, state updated at the end. */
export const program: fc.Arbitrary<Program> = grown({ ops: () => true, updates: true })

/** The same without ops that jump: a last bit of an operand there is a sixteenth of the result, or all of it. */
export const continuous: fc.Arbitrary<Program> = grown({
  ops: (n) => !['float8Dot', 'int8Dot', 'positive', 'sign'].includes(n),
  updates: true,
})

/** Ops that can be differentiated and are smooth on all of their domain, state only read. */
const smooth: fc.Arbitrary<Program> = grown({
  ops: (n) =>
    opOf(n).vjp !== null &&
    !['sqrt', 'reciprocal', 'logOdds', 'positive', 'float8Dot', 'int8Dot'].includes(n),
  updates: false,
})

/** Programs in which something is trainable and the objective depends on it. */
export const trainable: fc.Arbitrary<Program> = smooth.map((p) => ({
  ...p,
  state: p.state.map((s): State => (s.name === 'embed.weight' ? { ...s, role: 'train' } : s)),
}))

/** Programs with linear layers of frozen weights. */
export const linear: fc.Arbitrary<Program> = grown({
  ops: (n) => ['dot', 'add', 'mul', 'scale', 'rmsNorm', 'swiglu', 'addRow'].includes(n),
  updates: false,
}).map((p) => ({
  ...p,
  state: p.state.map((s): State => (s.role === 'train' ? { ...s, role: 'frozen' } : s)),
}))
