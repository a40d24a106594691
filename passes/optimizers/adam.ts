/** Adam and AdamW: one op, which backends have as one kernel. */
import type { Adam } from '../../ir/algebra.ts'
import { zeros, type Rule } from './rule.ts'

export const adam = (a: Adam): Rule => ({
  title: `${a.decoupled ? 'adamw' : 'adam'}, betas=[${a.beta1}, ${a.beta2}], decay=${a.decay}`,
  slots: zeros('adam.m', 'adam.v'),
  step: ({ b, p, g, slots: [m, v], lr, t }) => {
    const { beta1, beta2, eps, decay, decoupled } = a
    const [next, ...slots] = b.alg.adamw(
      { beta1, beta2, eps, decay, decoupled },
      ...([p, g, m!, v!, lr, t] as const),
    )
    return { p: next, slots }
  },
})
