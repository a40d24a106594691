/** The optimizers by name. A new one is a file beside this and a line in `ruleOf`. */
import type { Adam } from '../../ir/algebra.ts'
import { adafactor, type Adafactor } from './adafactor.ts'
import { adagrad, type Adagrad } from './adagrad.ts'
import { adam } from './adam.ts'
import { lion, type Lion } from './lion.ts'
import { muon, type Muon } from './muon.ts'
import type { Rule } from './rule.ts'
import { sgd, type Sgd } from './sgd.ts'

/** Adam is meant where no kind is named. */
export type Settings =
  | ({ readonly kind?: 'adam' } & Adam)
  | ({ readonly kind: 'sgd' } & Sgd)
  | ({ readonly kind: 'adagrad' } & Adagrad)
  | ({ readonly kind: 'lion' } & Lion)
  | ({ readonly kind: 'adafactor' } & Adafactor)
  | ({ readonly kind: 'muon' } & Muon)

export const ruleOf = (o: Settings): Rule => {
  switch (o.kind) {
    case 'sgd':
      return sgd(o)
    case 'adagrad':
      return adagrad(o)
    case 'lion':
      return lion(o)
    case 'adafactor':
      return adafactor(o)
    case 'muon':
      return muon(o)
    default:
      return adam(o)
  }
}

export { slotName, slotOf, statesOf, unsignedKinds, type Rule } from './rule.ts'
