/** The config's optimizer as settings of the pass. */
import type { Settings } from '../../passes/index.ts'
import type { Optimizer } from '../config/schema/optimizer.ts'

/** Keys of the type are filled by the config's reader. */
export const optimizerOf = (o: Optimizer): Settings => {
  const [beta1, beta2] = o.betas ?? [0, 0]
  const decay = o.weight_decay
  switch (o.type) {
    case 'adam':
    case 'adamw':
      return { beta1, beta2, eps: o.eps!, decay, decoupled: o.type === 'adamw' }
    case 'sgd':
      return {
        kind: 'sgd',
        momentum: o.momentum!,
        dampening: o.dampening!,
        nesterov: o.nesterov!,
        decay,
      }
    case 'adagrad':
      return {
        kind: 'adagrad',
        start: o.initial_accumulator_value!,
        rateDecay: o.lr_decay!,
        eps: o.eps!,
        decay,
      }
    case 'lion':
      return { kind: 'lion', beta1, beta2, decay }
  }
}
