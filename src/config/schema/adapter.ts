/** `adapter`, `quantization` and `model_parameters`: what is changed about the base model. */
import type * as t from 'io-ts'

import { rank } from '../bounds.ts'
import {
  bounded,
  completed,
  either,
  fraction,
  guard,
  nullable,
  numberThat,
  oneOf,
  section,
  truth,
  withDefault,
  type Filled,
} from './codec.ts'

const moduleNames = guard(
  'a list of module names',
  (u): u is ReadonlyArray<string> =>
    Array.isArray(u) && u.length > 0 && u.every((m) => typeof m === 'string' && m.trim() !== ''),
)

const open = section({
  type: oneOf('lora'),
  /** Rank. */
  r: withDefault(bounded(rank), 8),
  /** The update is scaled by alpha / r; 2·r unless given. PEFT divides any number. */
  alpha: withDefault(nullable(numberThat('a number greater than 0', (n) => n > 0)), null),
  /** On the adapter's input. */
  dropout: withDefault(fraction, 0.05),
  bias_type: withDefault(oneOf('none'), 'none'),
  /** Null: the model's default, q_proj and v_proj for Llama. */
  target_modules: withDefault(nullable(either(oneOf('all-linear'), moduleNames)), null),
  postprocessor: section({
    /** Also save the 16-bit base with the adapter added in. */
    merge_adapter_into_base_model: withDefault(truth, false),
  }),
})

type Open = t.TypeOf<typeof open>
export type Adapter = Filled<Open, 'alpha'>

/** Null: every weight is trained. */
export const adapter = withDefault(
  nullable(completed<Open, Adapter>(open, (a) => ({ ...a, alpha: a.alpha ?? 2 * a.r }))),
  null,
)

/** Null: weights keep their width. */
export const quantization = withDefault(
  nullable(
    section({
      bits: withDefault(oneOf(4), 4),
      bnb_4bit_quant_type: withDefault(oneOf('nf4'), 'nf4'),
      /** Also quantizes the scales. */
      bnb_4bit_use_double_quant: withDefault(truth, true),
      /** Null: chosen by the compiler (Ludwig: float16). */
      bnb_4bit_compute_dtype: withDefault(nullable(oneOf('float32', 'bfloat16', 'float16')), null),
    }),
  ),
  null,
)

export const modelParameters = section({
  rope_scaling: withDefault(
    nullable(
      section({
        rope_type: oneOf('linear'),
        factor: numberThat('a number greater than 1', (n) => n > 1),
      }),
    ),
    null,
  ),
})
