/** Low-rank adaptation (Hu et al. 2021): y = x·Wᵀ becomes y = x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ with W frozen, B zero at first. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { building, type Builder } from '../ir/build.ts'
import type { Fn, Id, Program, Recipe, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import type { Split } from '../ir/factors.ts'
import type { Reason } from '../ir/reason.ts'
import { isEncoded, scalar, tensor } from '../ir/type.ts'
import { linearWeights, moduleOf, multiplies } from './linear.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'
import { alsoTrained, isSaved, untied, type Also } from './saved.ts'
import {
  byPattern,
  isTarget,
  showTargets,
  withoutMeaning,
  type Pattern,
  type Targets,
} from './targets.ts'

/** How A and B start. */
export type Init = 'default' | 'gaussian' | 'orthogonal' | Split

export interface Lora extends Targets, Also {
  /** Other kinds of adapters name themselves. */
  readonly kind?: undefined
  readonly r: number
  /** The product is scaled by alpha / r. */
  readonly alpha: number
  readonly dropout: number
  /** Other ranks and alphas for modules whose path ends as a regular expression says. */
  readonly ranks?: Pattern
  readonly alphas?: Pattern
  /** Rank-stabilized (Kalajdzievski 2023): the scale is alpha / √r. */
  readonly rslora?: boolean
  /** Weight-decomposed (Liu et al. 2024): rows of W + s·B·A keep their directions, and have lengths of their own. */
  readonly dora?: boolean
  /** A uniform in ±1/√in and B zero (`default`), A normal with deviation 1/r and B zero (`gaussian`), both random with B·A = 0, or taken out of W. */
  readonly init?: Init
}

/** Rank and scale beside one module. */
export const sizeOf = (
  o: Pick<Lora, 'r' | 'alpha' | 'ranks' | 'alphas' | 'rslora'>,
  module: string,
): { readonly r: number; readonly alpha: number; readonly scale: number } => {
  const r = byPattern(o.ranks, module, o.r)
  const alpha = byPattern(o.alphas, module, o.alpha)
  return { r, alpha, scale: alpha / (o.rslora === true ? Math.sqrt(r) : r) }
}

const adapterNames = (weight: string): readonly [a: string, b: string, magnitude: string] => [
  `${moduleOf(weight)}.lora_A.weight`,
  `${moduleOf(weight)}.lora_B.weight`,
  `${moduleOf(weight)}.lora_magnitude_vector`,
]
const isAdapter = (name: string): boolean => /\.lora_([AB]\.weight|magnitude_vector)$/.test(name)

const takenOut = (
  by: Split,
  part: 'A' | 'B' | 'W',
  r: number,
  scale: number,
  { name, type }: State,
): Recipe => {
  const shape = type.shape as readonly [number, number]
  return { _tag: 'split', by, part, of: name, shape, r, scale }
}

const starts = (
  init: Init,
  { r, scale }: { readonly r: number; readonly scale: number },
  w: State,
): readonly [a: Recipe, b: Recipe] => {
  const of = moduleOf(w.name)
  const zero: Recipe = { _tag: 'fill', value: 0 }
  switch (init) {
    case 'default':
      return [{ _tag: 'kaiming' }, zero]
    case 'gaussian':
      return [{ _tag: 'normal', deviation: 1 / r }, zero]
    case 'orthogonal':
      return [
        { _tag: 'orthogonal', part: 'A', of },
        { _tag: 'orthogonal', part: 'B', of },
      ]
    case 'pissa':
    case 'olora':
      return [takenOut(init, 'A', r, scale, w), takenOut(init, 'B', r, scale, w)]
  }
}

const adapters = (o: Lora, w: State): ReadonlyArray<State> => {
  const module = moduleOf(w.name)
  const size = sizeOf(o, module)
  const { r } = size
  const [a, b, magnitude] = adapterNames(w.name)
  const lengths: Recipe = { _tag: 'norms', of: w.recipe, type: w.type }
  const [out, into] = w.type.shape as readonly [number, number]
  const [startA, startB] = starts(o.init ?? 'default', size, w)
  return [
    { name: a, type: tensor('f32', r, into), role: 'train', recipe: startA },
    { name: b, type: tensor('f32', out, r), role: 'train', recipe: startB },
    ...(o.dora === true
      ? [{ name: magnitude, type: tensor('f32', out), role: 'train' as const, recipe: lengths }]
      : []),
  ]
}

/** One seed for a whole step and a key for each token, by its sample and position: how a batch is cut changes no mask. */
const draws = (b: Builder, tokens: number): readonly [seed: Id, keys: Id] => [
  b.input('seed', scalar('i32')),
  b.input('keys', tensor('i32', tokens)),
]

const adapt =
  (o: Lora, states: ReadonlyMap<string, State>, targets: ReadonlyArray<State>): Rule =>
  ({ fn, eqn, args, b, state }) => {
    const salt = targets.findIndex((w) => w.name === state(1)?.name)
    if (!multiplies(eqn.op) || salt < 0) return null
    const [x, w] = args as readonly [number, number]
    const times = (of: Id): Id => copy(b, eqn, [of, w])[0]!
    const base = times(x)
    const { name } = targets[salt]!
    const { scale } = sizeOf(o, moduleOf(name))
    const read = (n: string): Id => b.read(states.get(n)!)
    const [a, up, magnitude] = adapterNames(name)
    const dropped =
      o.dropout > 0 && fn.minimizes !== undefined
        ? b.alg.dropout({ rate: o.dropout, salt }, x, ...draws(b, b.typeOf(x).shape[0]!))
        : x
    // Scaling the [tokens, r] matrix instead of the result is out/r times less work.
    const low = b.alg.scale(scale, b.alg.dot({ tb: true }, dropped, read(a)))
    const change = b.alg.dot({ tb: true }, low, read(up))
    if (o.dora !== true) return [b.alg.add(base, change)]
    const wide = isEncoded(b.typeOf(w).dtype) ? b.alg.dequantize(b.typeOf(x).dtype, w) : w
    const lengths = b.alg.adaptedNorms(scale, wide, read(a), read(up))
    const by = b.alg.mul(read(magnitude), b.alg.reciprocal(lengths))
    if (dropped === x) return [b.alg.mulRow(b.alg.add(base, change), by)]
    // As PEFT: what the lengths add to W is of the dropped input too.
    const kept = times(dropped)
    return [b.alg.add(base, b.alg.sub(b.alg.mulRow(b.alg.add(kept, change), by), kept))]
  }

const list = (name: string, of: ReadonlyArray<unknown> = []): ReadonlyArray<string> =>
  of.length === 0 ? [] : [`${name}=${of.join(' ')}`]
const pattern = (name: string, of: Pattern = {}): ReadonlyArray<string> =>
  list(
    name,
    Object.entries(of).map(([k, v]) => `${k}:${v}`),
  )

const nameOf = (o: Lora): string => {
  const { init = 'default', bias = 'none' } = o
  const words = [
    `r=${o.r}`,
    `alpha=${o.alpha}`,
    ...pattern('ranks', o.ranks),
    ...pattern('alphas', o.alphas),
    ...(o.rslora === true ? ['rslora'] : []),
    ...(o.dora === true ? ['dora'] : []),
    ...(init === 'default' ? [] : [`init=${init}`]),
    ...(o.dropout > 0 ? [`dropout=${o.dropout}`] : []),
    `on ${showTargets(o)}`,
    ...(bias === 'none' ? [] : [`bias=${bias}`]),
    ...list('also', o.save),
  ]
  return `lora(${words.join(', ')})`
}

/** The linear weights that get an adapter. Left: a setting that means none. */
const chosenOf = (o: Lora, p: Program): E.Either<Reason, ReadonlyArray<State>> => {
  const linears = linearWeights(p).filter((w) => !isSaved(o)(w))
  const modules = linears.map((w) => moduleOf(w.name))
  const idle = withoutMeaning(o, { rank_pattern: o.ranks, alpha_pattern: o.alphas }, modules)
  return idle === null
    ? E.right(linears.filter((w) => isTarget(o)(moduleOf(w.name))))
    : E.left(idle)
}

const adapted = (
  o: Lora,
  p: Program,
  chosen: ReadonlyArray<State>,
  also: ReadonlySet<string>,
): E.Either<Reason, Program> => {
  const role = ({ name, role: was }: State): State['role'] =>
    was !== 'train' && was !== 'frozen' ? was : also.has(name) ? 'train' : 'frozen'
  const { init } = o
  const left = (s: State): Recipe => {
    const { r, scale } = sizeOf(o, moduleOf(s.name))
    return (init === 'pissa' || init === 'olora') && chosen.some((w) => w.name === s.name)
      ? takenOut(init, 'W', r, scale, s)
      : s.recipe
  }
  const state: ReadonlyArray<State> = [
    ...p.state.map((s) => ({ ...s, role: role(s), recipe: left(s) })),
    ...chosen.flatMap((w) => adapters(o, w)),
  ]
  const states = stateOf({ ...p, state })
  return building((): Program => ({
    ...p,
    state,
    fns: p.fns.map((f): Fn => rebuild(f, states, adapt(o, states, chosen))),
  }))
}

export const lora = (o: Lora): Pass => ({
  name: nameOf(o),
  keeps: 'meaning',
  run: (given) =>
    pipe(
      E.Do,
      E.bind('p', () => untied(o)(given)),
      E.bind('chosen', ({ p }) => chosenOf(o, p)),
      E.bind('also', ({ p, chosen }) =>
        alsoTrained(
          o,
          p,
          chosen.map((w) => moduleOf(w.name)),
        ),
      ),
      E.chain(({ p, chosen, also }) => adapted(o, p, chosen, also)),
    ),
  promise: (p) => {
    const odd = p.state.find(
      (s) =>
        (s.role === 'train') !== (isAdapter(s.name) || isAlso(o, s)) &&
        (s.role === 'train' || s.role === 'frozen'),
    )
    return odd === undefined ? null : `only adapters train, but ${odd.name} is ${odd.role}`
  },
})

/** Trained itself, by `modules_to_save` or as a bias. */
const isAlso = (o: Lora, s: State): boolean =>
  isSaved(o)(s) || ((o.bias ?? 'none') !== 'none' && s.name.endsWith('.bias') && s.role === 'train')
