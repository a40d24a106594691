/** Low-rank adaptation (Hu et al. 2021): y = x·Wᵀ becomes y = x·Wᵀ + s·(drop(x)·Aᵀ)·Bᵀ with W frozen, B zero at first. */
import * as E from 'fp-ts/lib/Either.js'
import { building, type Builder } from '../ir/build.ts'
import type { Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { scalar, tensor } from '../ir/type.ts'
import { linearWeights, moduleOf } from './linear.ts'
import type { Pass } from './pass.ts'
import { rebuild, type Rule } from './rewrite.ts'

export interface Lora {
  readonly r: number
  /** The product is scaled by alpha / r. */
  readonly alpha: number
  readonly dropout: number
  /** Module names: equal to the module's path or a dotted suffix of it. */
  readonly targets: ReadonlyArray<string>
}

const matches = (module: string, target: string): boolean =>
  module === target || module.endsWith(`.${target}`)

export const adapterNames = (weight: string): readonly [string, string] => [
  `${moduleOf(weight)}.lora_A.weight`,
  `${moduleOf(weight)}.lora_B.weight`,
]

const adapters = (w: State, r: number): ReadonlyArray<State> => {
  const [a, b] = adapterNames(w.name)
  const [out, into] = w.type.shape as readonly [number, number]
  return [
    { name: a, type: tensor('f32', r, into), role: 'train', recipe: { _tag: 'kaiming' } },
    { name: b, type: tensor('f32', out, r), role: 'train', recipe: { _tag: 'fill', value: 0 } },
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
    if (eqn.op !== 'dot' || salt < 0) return null
    const [x, w] = args as readonly [number, number]
    const base = b.alg.dot({ tb: true }, x, w)
    const [A, B] = adapterNames(targets[salt]!.name).map((n) => b.read(states.get(n)!))
    const dropped =
      o.dropout > 0 && fn.minimizes !== undefined
        ? b.alg.dropout({ rate: o.dropout, salt }, x, ...draws(b, b.typeOf(x).shape[0]!))
        : x
    // Scaling the [tokens, r] matrix instead of the result is out/r times less work.
    const low = b.alg.scale(o.alpha / o.r, b.alg.dot({ tb: true }, dropped, A!))
    return [b.alg.add(base, b.alg.dot({ tb: true }, low, B!))]
  }

export const lora = (o: Lora): Pass => ({
  name: `lora(r=${o.r}, alpha=${o.alpha}${o.dropout > 0 ? `, dropout=${o.dropout}` : ''}, on ${o.targets.join(' ')})`,
  keeps: 'meaning',
  run: (p) => {
    const linears = linearWeights(p)
    const known = [...new Set(linears.map((w) => moduleOf(w.name).split('.').at(-1)!))]
    const missing = o.targets.find((t) => !linears.some((w) => matches(moduleOf(w.name), t)))
    if (missing !== undefined) return E.left({ _tag: 'NoMatch', target: missing, known })
    const chosen = linears.filter((w) => o.targets.some((t) => matches(moduleOf(w.name), t)))
    const state: ReadonlyArray<State> = [
      ...p.state.map((s): State => (s.role === 'train' ? { ...s, role: 'frozen' } : s)),
      ...chosen.flatMap((w) => adapters(w, o.r)),
    ]
    const states = stateOf({ ...p, state })
    return building((): Program => ({
      ...p,
      state,
      fns: p.fns.map((f): Fn => rebuild(f, states, adapt(o, states, chosen))),
    }))
  },
  promise: (p) => {
    const odd = p.state.find(
      (s) =>
        (s.role === 'train') !== /\.lora_[AB]\.weight$/.test(s.name) &&
        (s.role === 'train' || s.role === 'frozen'),
    )
    return odd === undefined ? null : `only adapters train, but ${odd.name} is ${odd.role}`
  },
})
