/** IA³ (Liu et al. 2022): outputs of some linear layers, and inputs of others, are multiplied by a learned vector; the model is frozen. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { building } from '../ir/build.ts'
import type { Fn, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import type { Reason } from '../ir/reason.ts'
import { tensor } from '../ir/type.ts'
import { linearWeights, moduleOf, multiplies } from './linear.ts'
import type { Pass } from './pass.ts'
import { copy, rebuild, type Rule } from './rewrite.ts'
import { alsoTrained, isSaved, untied, type Also } from './saved.ts'
import { isTarget, regex, showTargets, withoutMeaning, type Targets } from './targets.ts'

export interface Ia3 extends Pick<Targets, 'targets'>, Pick<Also, 'save'> {
  readonly kind: 'ia3'
  /** Of the targets, those whose inputs are multiplied: by the ends of their paths, or a regular expression for the whole. */
  readonly inputs: ReadonlyArray<string> | string
}

/** As PEFT: an end of a path, wherever its last name begins. */
export const takesInput =
  ({ inputs }: Ia3) =>
  (module: string): boolean =>
    typeof inputs === 'string'
      ? regex(`^(?:${inputs})$`)!.test(module)
      : inputs.some((end) => module.endsWith(end))

const vectorName = (module: string): string => `${module}.ia3_l`
export const isVector = (name: string): boolean => name.endsWith('.ia3_l')

const vector = (o: Ia3, w: State): State => {
  const module = moduleOf(w.name)
  const [out, into] = w.type.shape as readonly [number, number]
  return {
    name: vectorName(module),
    type: tensor('f32', takesInput(o)(module) ? into : out),
    role: 'train',
    recipe: { _tag: 'fill', value: 1 },
  }
}

const multiply =
  (o: Ia3, states: ReadonlyMap<string, State>): Rule =>
  ({ eqn, args, b, state }) => {
    const read = state(1)?.name ?? ''
    const module = read.replace(/\.(weight|bias)$/, '')
    const l = states.get(vectorName(module))
    const biased = states.has(`${module}.bias`)
    if (l === undefined) return null
    if (takesInput(o)(module))
      return multiplies(eqn.op) && read.endsWith('.weight')
        ? copy(b, eqn, [b.alg.mulRow(args[0]!, b.read(l)), args[1]!])
        : null
    // What a module gives is the product with its bias.
    return (biased ? eqn.op === 'addRow' : multiplies(eqn.op))
      ? [b.alg.mulRow(copy(b, eqn, args)[0]!, b.read(l))]
      : null
  }

const chosenOf = (o: Ia3, p: Program): E.Either<Reason, ReadonlyArray<State>> => {
  const linears = linearWeights(p).filter((w) => !isSaved(o)(w))
  const modules = linears.map((w) => moduleOf(w.name))
  const idle = withoutMeaning(o, {}, modules)
  if (idle !== null) return E.left(idle)
  const chosen = linears.filter((w) => isTarget(o)(moduleOf(w.name)))
  const ends = typeof o.inputs === 'string' ? [o.inputs] : o.inputs
  const odd = ends.find(
    (end) =>
      !chosen.some((w) =>
        takesInput({ ...o, inputs: typeof o.inputs === 'string' ? end : [end] })(moduleOf(w.name)),
      ),
  )
  return odd === undefined
    ? E.right(chosen)
    : E.left({
        _tag: 'NoMatch',
        target: odd,
        known: [...new Set(chosen.map((w) => moduleOf(w.name).split('.').at(-1)!))],
        of: 'feedforward_modules',
      })
}

const multiplied = (
  o: Ia3,
  p: Program,
  chosen: ReadonlyArray<State>,
  also: ReadonlySet<string>,
): E.Either<Reason, Program> => {
  const role = ({ name, role: was }: State): State['role'] =>
    was !== 'train' && was !== 'frozen' ? was : also.has(name) ? 'train' : 'frozen'
  const state = [
    ...p.state.map((s) => ({ ...s, role: role(s) })),
    ...chosen.map((w) => vector(o, w)),
  ]
  const states = stateOf({ ...p, state })
  return building((): Program => ({
    ...p,
    state,
    fns: p.fns.map((f): Fn => rebuild(f, states, multiply(o, states))),
  }))
}

export const ia3 = (o: Ia3): Pass => ({
  name: `ia3(on ${showTargets(o)}, inputs of ${typeof o.inputs === 'string' ? `/${o.inputs}/` : o.inputs.join(' ')}${o.save === undefined ? '' : `, also=${o.save.join(' ')}`})`,
  keeps: 'meaning',
  run: (given) =>
    pipe(
      E.Do,
      E.bind('p', () => untied(o)(given)),
      E.bind('chosen', ({ p }) => chosenOf(o, p)),
      E.bind('also', ({ p }) => alsoTrained(o, p, [])),
      E.chain(({ p, chosen, also }) => multiplied(o, p, chosen, also)),
    ),
  promise: (p) => {
    const odd = p.state.find(
      (s) =>
        (s.role === 'train') !== (isVector(s.name) || isSaved(o)(s)) &&
        (s.role === 'train' || s.role === 'frozen'),
    )
    return odd === undefined ? null : `only vectors train, but ${odd.name} is ${odd.role}`
  },
})
