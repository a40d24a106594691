/** Stochastic gradient descent with momentum, as torch.optim.SGD has it. */
import type { Id } from '../../ir/graph.ts'
import { scalar } from '../../ir/type.ts'
import { descended, regularized, zeros, type At, type Rule } from './rule.ts'

export interface Sgd {
  readonly momentum: number
  /** How much of a gradient momentum does not take, after the first. */
  readonly dampening: number
  readonly nesterov: boolean
  readonly decay: number
}

/** momentum·buffer + (1 − dampening)·g; the first gradient is taken whole. */
const gathered = ({ b: { alg }, slots: [buffer], t }: At, o: Sgd, g: Id): Id => {
  const kept = alg.scale(o.momentum, buffer!)
  if (o.dampening === 0) return alg.add(kept, g)
  // max(−1, 1 − t) is 0 at the first step and −1 later.
  const later = alg.maximum(alg.fill(-1, scalar('f32')), alg.shift(1, alg.scale(-1, t)))
  return alg.add(kept, alg.scaleBy(g, alg.shift(1, alg.scale(o.dampening, later))))
}

export const sgd = (o: Sgd): Rule => ({
  title: `sgd, momentum=${o.momentum}${o.dampening === 0 ? '' : `, dampening=${o.dampening}`}${o.nesterov ? ', nesterov' : ''}, decay=${o.decay}`,
  slots: o.momentum === 0 ? () => [] : zeros('sgd.momentum'),
  step: (at) => {
    const { alg } = at.b
    const g = regularized(at, o.decay)
    if (o.momentum === 0) return { p: descended(at, at.p, g), slots: [] }
    const buffer = gathered(at, o, g)
    const by = o.nesterov ? alg.add(g, alg.scale(o.momentum, buffer)) : buffer
    return { p: descended(at, at.p, by), slots: [buffer] }
  },
})
