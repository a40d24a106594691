/** The config's optimizer as settings of the pass. */
import { LEAST, type EightBit, type Settings } from '../../passes/index.ts'
import { isEightBit, plainType, type Optimizer } from '../config/schema/optimizer.ts'

/** Keys of the type are filled by the config's reader. */
export const optimizerOf = (o: Optimizer, rate: number): Settings => {
  const [beta1, beta2] = o.betas ?? [0, 0]
  const decay = o.weight_decay
  switch (plainType(o.type)) {
    case 'adam':
    case 'adamw':
      return { beta1, beta2, eps: o.eps!, decay, decoupled: o.type !== 'adam' }
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
    case 'adafactor':
      return {
        kind: 'adafactor',
        scaled: o.scale_parameter!,
        relative: o.relative_step!,
        warmup: o.warmup_init!,
        rate,
      }
    case 'muon':
      return { kind: 'muon', momentum: o.momentum!, nesterov: o.nesterov! }
  }
}

/** How the state is kept between steps. */
export const keptAs = (o: Optimizer): { readonly eightBit?: EightBit } =>
  isEightBit(o.type) ? { eightBit: { least: LEAST } } : {}
