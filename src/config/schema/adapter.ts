/** `adapter`, `quantization` and `model_parameters`: what is changed about the base model. */
import type * as t from 'io-ts'

import { rank } from '../bounds.ts'
import { indices, names, pathPattern, patternOf, positiveNumber } from './modules.ts'
import {
  atLeastZero,
  bounded,
  completed,
  either,
  fraction,
  nullable,
  numberThat,
  oneOf,
  section,
  text,
  truth,
  withDefault,
  type Filled,
} from './codec.ts'

const open = section({
  /** Low-rank matrices, or vectors. */
  type: oneOf('lora', 'ia3'),
  /** Rank. */
  r: withDefault(bounded(rank), 8),
  /** The update is scaled by alpha / r; 2·r unless given. PEFT divides any number. */
  alpha: withDefault(nullable(positiveNumber), null),
  /** Ranks and alphas of modules whose path ends as a regular expression says. */
  rank_pattern: withDefault(nullable(patternOf(bounded(rank))), null),
  alpha_pattern: withDefault(nullable(patternOf(positiveNumber)), null),
  /** Scaled by alpha / √r instead. */
  use_rslora: withDefault(truth, false),
  /** Lengths of the rows of W + s·B·A are trained apart from their directions. */
  use_dora: withDefault(truth, false),
  init_lora_weights: withDefault(
    oneOf('default', 'gaussian', 'orthogonal', 'pissa', 'olora'),
    'default',
  ),
  /** On the adapter's input. */
  dropout: withDefault(fraction, 0.05),
  /** Biases of the base that are trained: none, all, or those of adapted modules. */
  bias_type: withDefault(oneOf('none', 'all', 'lora_only'), 'none'),
  /** Null: the model's default, q_proj and v_proj for Llama. */
  target_modules: withDefault(
    nullable(either(oneOf('all-linear'), either(names('module names'), pathPattern))),
    null,
  ),
  /** Of IA³'s targets, those whose inputs are multiplied; null: down_proj. */
  feedforward_modules: withDefault(nullable(either(names('module names'), pathPattern)), null),
  /** Layers that get adapters, by index; null: all. */
  layers_to_transform: withDefault(nullable(indices), null),
  /** Names of lists of layers that the indices count in, as `layers`; null: any. */
  layers_pattern: withDefault(nullable(names('names of lists of layers')), null),
  /** Modules trained in full beside the adapters, and saved with them. */
  modules_to_save: withDefault(nullable(names('module names')), null),
  /** LoRA+: how many times as fast B learns as A; null: as fast. */
  loraplus_lr_ratio: withDefault(nullable(positiveNumber), null),
  /** A PEFT adapter to go on from: its own settings count. */
  pretrained_adapter_weights: withDefault(nullable(text), null),
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
      bits: withDefault(oneOf(4, 8), 4),
      /** Of 8 bits: columns of an input that hold such a magnitude are multiplied in 16 bits; 0: none. */
      llm_int8_threshold: withDefault(atLeastZero, 6),
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
  /** In training, noise in ±alpha / √(tokens · width) on embeddings. */
  neftune_noise_alpha: withDefault(atLeastZero, 0),
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
