/** Adagrad (Duchi et al. 2011), as torch.optim.Adagrad has it. */
import { descended, regularized, zeros, type Rule } from './rule.ts'

export interface Adagrad {
  /** What the sums of squares begin with. */
  readonly start: number
  /** The learning rate is divided by 1 + (t − 1)·rateDecay. */
  readonly rateDecay: number
  readonly eps: number
  readonly decay: number
}

export const adagrad = (o: Adagrad): Rule => ({
  title: `adagrad${o.start === 0 ? '' : `, start=${o.start}`}${o.rateDecay === 0 ? '' : `, lr_decay=${o.rateDecay}`}, eps=${o.eps}, decay=${o.decay}`,
  slots: (type) => zeros('adagrad.sum')(type).map((s) => ({ ...s, start: o.start })),
  step: (at) => {
    const { alg } = at.b
    const g = regularized(at, o.decay)
    const sum = alg.add(at.slots[0]!, alg.mul(g, g))
    const by = alg.mul(g, alg.reciprocal(alg.shift(o.eps, alg.sqrt(sum))))
    const slowed = alg.reciprocal(alg.shift(1, alg.scale(o.rateDecay, alg.shift(-1, at.t))))
    const lr = o.rateDecay === 0 ? at.lr : alg.mul(at.lr, slowed)
    return { p: descended({ ...at, lr }, at.p, by), slots: [sum] }
  },
})
