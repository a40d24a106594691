/** What an optimizer is to the pass: what it keeps for a tensor, and the step of that tensor as equations. */
import type { Builder } from '../../ir/build.ts'
import type { Id, State } from '../../ir/graph.ts'
import { tensor, type TensorType } from '../../ir/type.ts'

/** State kept for one trainable tensor. */
export interface Slot {
  /** Which of the optimizer's tensors: `adam.m`; the state is named `adam.m.<tensor>`. */
  readonly kind: string
  readonly type: TensorType
  /** What it holds before the first step. */
  readonly start: number
}

/** What a step sees: the tensor, its gradient (unscaled and clipped), its slots, and two scalars. */
export interface At {
  readonly b: Builder
  readonly p: Id
  readonly g: Id
  readonly slots: ReadonlyArray<Id>
  readonly lr: Id
  /** Steps that were applied, this one included. */
  readonly t: Id
}

export interface Stepped {
  readonly p: Id
  /** In the order of `At.slots`. */
  readonly slots: ReadonlyArray<Id>
}

export interface Rule {
  /** For the trace: `sgd(momentum=0.9)`. */
  readonly title: string
  readonly slots: (trained: TensorType) => ReadonlyArray<Slot>
  readonly step: (at: At) => Stepped
}

export const slotName = (kind: string, trained: string): string => `${kind}.${trained}`

/** Which slot of which tensor a state is: the first two words are the kind. */
export const slotOf = (state: string): { readonly kind: string; readonly trained: string } => {
  const [optimizer, slot, ...trained] = state.split('.')
  return { kind: `${optimizer}.${slot}`, trained: trained.join('.') }
}

/** Slots that are never below zero. */
export const unsignedKinds: ReadonlySet<string> = new Set(['adam.v', 'adagrad.sum'])

/** The slots of a tensor as state. */
export const statesOf = (rule: Rule, { name, type }: State): ReadonlyArray<State> =>
  rule.slots(type).map((s) => ({
    name: slotName(s.kind, name),
    type: s.type,
    role: 'optimizer',
    recipe: { _tag: 'fill', value: s.start },
  }))

/** Slots of the tensor's own shape, zero at first. */
export const zeros =
  (...kinds: ReadonlyArray<string>) =>
  (type: TensorType): ReadonlyArray<Slot> =>
    kinds.map((kind) => ({ kind, type: tensor('f32', ...type.shape), start: 0 }))

/** x·(1 − lr·decay): decay of the parameter itself. */
export const decayed = ({ b: { alg }, lr }: At, decay: number, x: Id): Id =>
  decay === 0 ? x : alg.scaleBy(x, alg.shift(1, alg.scale(-decay, lr)))

/** g + decay·p: decay as part of the gradient. */
export const regularized = ({ b: { alg }, p, g }: At, decay: number): Id =>
  decay === 0 ? g : alg.add(g, alg.scale(decay, p))

/** p − lr·by. */
export const descended = ({ b: { alg }, lr }: At, p: Id, by: Id): Id =>
  alg.sub(p, alg.scaleBy(by, lr))

/** x·keep + y·(1 − keep). */
export const mixed = ({ b: { alg } }: At, keep: number, x: Id, y: Id): Id =>
  alg.add(alg.scale(keep, x), alg.scale(1 - keep, y))
