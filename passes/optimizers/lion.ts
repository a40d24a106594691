/** Lion (Chen et al. 2023): steps of one size, by the sign of a momentum. */
import { decayed, descended, mixed, zeros, type Rule } from './rule.ts'

export interface Lion {
  readonly beta1: number
  readonly beta2: number
  readonly decay: number
}

export const lion = (o: Lion): Rule => ({
  title: `lion, betas=[${o.beta1}, ${o.beta2}], decay=${o.decay}`,
  slots: zeros('lion.m'),
  step: (at) => {
    const [m] = at.slots
    const by = at.b.alg.sign(mixed(at, o.beta1, m!, at.g))
    return {
      p: descended(at, decayed(at, o.decay, at.p), by),
      slots: [mixed(at, o.beta2, m!, at.g)],
    }
  },
})
