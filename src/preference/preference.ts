/** What a config asks of preference training. */
import type { Prefer } from '../../passes/index.ts'
import type { Trainer } from '../config/schema/config.ts'

export interface Preference {
  /** What a step minimizes. */
  readonly loss: Prefer
  /** Weights of the losses of good and of bad answers; 1 where answers come in pairs. */
  readonly desirable: number
  readonly undesirable: number
}

/** Null: the run learns no preferences. */
export const preferenceOf = (t: Trainer): Preference | null => {
  const { type: _tag } = t
  const beta = t.beta ?? 0
  const [desirable, undesirable] = [t.desirable_weight ?? 1, t.undesirable_weight ?? 1]
  switch (_tag) {
    case 'dpo': {
      const loss = {
        _tag,
        link: t.loss_type ?? 'sigmoid',
        beta,
        smoothing: t.label_smoothing ?? 0,
      } as const
      return { loss, desirable, undesirable }
    }
    case 'kto':
    case 'orpo':
      return { loss: { _tag, beta }, desirable, undesirable }
    default:
      return null
  }
}

/** Whether a model is compared with the one that training began with. */
export const hasReference = ({ loss }: Preference): boolean => loss._tag !== 'orpo'
