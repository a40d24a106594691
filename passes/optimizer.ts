/** Gradients become an update: unscale, clip by global norm, one step of the optimizer for every trainable tensor. */
import * as E from 'fp-ts/lib/Either.js'
import { building, type Builder } from '../ir/build.ts'
import type { Fn, Id, Program, State } from '../ir/graph.ts'
import { stateOf } from '../ir/graph.ts'
import { broken } from '../ir/reason.ts'
import { scalar } from '../ir/type.ts'
import { gradName } from './differentiate.ts'
import { ruleOf, slotName, statesOf, type Rule, type Settings } from './optimizers/index.ts'
import type { Pass } from './pass.ts'
import { SCALE, STREAK } from './precision.ts'
import { rebuild, type Extra } from './rewrite.ts'

/** Which optimizer, and what is done beside it. */
export type Optimizer = Settings & {
  /** Largest global 2-norm of the gradient, or null for no clipping. */
  readonly clip: number | null
  /** LoRA+ (Hayou et al. 2024): the B matrices of adapters learn so many times as fast. */
  readonly ratioB?: number
}

const isB = ({ name }: State): boolean => name.endsWith('.lora_B.weight')

interface Norm {
  readonly norm: Id
  /** What gradients are multiplied by before the step; null for nothing. */
  readonly factor: Id | null
  readonly finite: Id | null
}

const normOf = (
  b: Builder,
  o: Pick<Optimizer, 'clip'>,
  grads: ReadonlyArray<Id>,
  scale: Id | null,
): Norm => {
  const { alg } = b
  const squares = grads.map((g) => alg.sumSquares(g)).reduce((x, y) => alg.add(x, y))
  const unscale = scale === null ? null : alg.reciprocal(scale)
  const square = unscale === null ? squares : alg.mul(alg.mul(squares, unscale), unscale)
  const clip = o.clip === null ? null : alg.clipCoefficient(o.clip, square)
  const factor = clip !== null && unscale !== null ? alg.mul(clip, unscale) : (clip ?? unscale)
  return { norm: alg.sqrt(square), factor, finite: scale === null ? null : alg.isFinite(squares) }
}

const step = (
  b: Builder,
  o: Optimizer,
  rule: Rule,
  states: ReadonlyMap<string, State>,
  grads: ReadonlyArray<{ readonly state: State; readonly id: Id }>,
): Extra => {
  const { alg } = b
  const read = (name: string) => b.read(states.get(name)!)
  const [lr, t] = [b.input('lr', scalar('f32')), b.input('step', scalar('f32'))]
  const scale = states.has(SCALE) ? read(SCALE) : null
  const faster = o.ratioB === undefined ? lr : alg.scale(o.ratioB, lr)
  const { norm, factor, finite } = normOf(
    b,
    o,
    grads.map((g) => g.id),
    scale,
  )
  const updates = grads.flatMap(({ state, id }) => {
    const names = rule.slots(state.type).map((slot) => slotName(slot.kind, state.name))
    const [p, slots] = [b.read(state), names.map(read)]
    const g = factor === null ? id : alg.scaleBy(id, factor)
    const next = rule.step({ b, p, g, slots, lr: isB(state) ? faster : lr, t })
    // A step that overflowed changes nothing but the loss scale.
    const kept = (to: Id, from: Id): Id => (finite === null ? to : alg.select(finite, to, from))
    return [
      { state: state.name, id: kept(next.p, p) },
      ...names.map((name, i) => ({ state: name, id: kept(next.slots[i]!, slots[i]!) })),
    ]
  })
  if (finite === null) return { updates, outs: [{ name: 'grad_norm', id: norm }] }
  const [nextScale, streak] = alg.lossScale(read(SCALE), read(STREAK), finite)
  return {
    updates: [...updates, { state: SCALE, id: nextScale }, { state: STREAK, id: streak }],
    outs: [
      { name: 'grad_norm', id: norm },
      { name: 'finite', id: finite },
    ],
  }
}

const optimize = (
  f: Fn,
  p: Program,
  o: Optimizer,
  rule: Rule,
  states: ReadonlyMap<string, State>,
): Fn => {
  const train = p.state.filter((s) => s.role === 'train')
  return rebuild(
    f,
    states,
    () => null,
    (b, now) => {
      const outs = f.outs.map((x) => ({ ...x, id: now(x.id) }))
      const grads = train.map((state) => ({
        state,
        id: outs.find((x) => x.name === gradName(state.name))!.id,
      }))
      const extra = b.at({ scope: 'optimizer', stage: 'update' }, () =>
        step(b, o, rule, states, grads),
      )
      return { ...extra, outs: [...outs, ...(extra.outs ?? [])] }
    },
  )
}

/** Whether a function returns the gradient of every trainable tensor. */
const differentiated = (p: Program) => (f: Fn) =>
  f.minimizes !== undefined &&
  p.state.every((s) => s.role !== 'train' || f.outs.some((x) => x.name === gradName(s.name)))

export const optimizer = (o: Optimizer): Pass => {
  const rule = ruleOf(o)
  return {
    name: `optimizer(${rule.title}${o.clip === null ? '' : `, clip=${o.clip}`}${o.ratioB === undefined ? '' : `, lr of B ×${o.ratioB}`})`,
    keeps: 'meaning',
    run: (p) => {
      if (!p.fns.some(differentiated(p)))
        return E.left(broken('the optimizer comes after differentiate'))
      const kept = p.state.filter((s) => s.role === 'train').flatMap((s) => statesOf(rule, s))
      const state = [...p.state, ...kept]
      const states = stateOf({ ...p, state })
      return building((): Program => ({
        ...p,
        state,
        fns: p.fns.map((f) => (differentiated(p)(f) ? optimize(f, p, o, rule, states) : f)),
      }))
    },
    promise: (p) => {
      const updated = new Set(p.fns.flatMap((f) => f.updates.map((u) => u.state)))
      const idle = p.state.find((s) => s.role === 'train' && !updated.has(s.name))
      return idle === undefined
        ? null
        : `every trainable tensor is updated, but ${idle.name} is not`
    },
  }
}
