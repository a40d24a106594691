/** The whole file: every supported key, Ludwig's names and defaults, completed where one key follows another. */
import type * as t from 'io-ts'

import { resolvePreset } from '../ludwig/presets.ts'
import { adapter, modelParameters, quantization } from './adapter.ts'
import { completed, numberThat, oneOf, section, text, withDefault, type Filled } from './codec.ts'
import { compiler } from './compiler.ts'
import { fullEncoder, validation, type FullEncoder } from './encoder.ts'
import { inputFeatures, prompt, type TextFeature } from './features.ts'
import { generation } from './generation.ts'
import { outputFeatures } from './outputs.ts'
import { withPreference } from './preference.ts'
import { preprocessing } from './preprocessing.ts'
import { trainer, type OpenTrainer } from './trainer.ts'

const seed = numberThat(
  'a whole number from 0 to 4294967295',
  (n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32,
)

const open = section({
  /** ecd: a language model as encoder, with heads that predict labels and numbers. */
  model_type: oneOf('llm', 'ecd'),
  /** A folder or a hub id; Ludwig's presets become hub ids. */
  base_model: text,
  input_features: inputFeatures,
  output_features: outputFeatures,
  prompt,
  preprocessing,
  adapter,
  quantization,
  model_parameters: modelParameters,
  trainer,
  generation,
  random_seed: withDefault(seed, 42),
  /** Where Ludwig would run; tunec always runs here. */
  backend: section({ type: withDefault(oneOf('local'), 'local') }),
  compiler,
})

type Open = t.TypeOf<typeof open>

export type Trainer = Filled<
  OpenTrainer,
  'enable_gradient_checkpointing' | 'validation_field' | 'validation_metric'
>
export interface InputFeature extends Omit<TextFeature, 'encoder'> {
  readonly encoder: FullEncoder | null
}
export type Config = Omit<Open, 'trainer' | 'input_features'> & {
  readonly input_features: readonly [InputFeature]
  readonly trainer: Trainer
}

const complete = (c: Open): Config => {
  const recomputes = c.compiler.recompute === 'layers' || c.compiler.recompute === 'budget'
  const [{ encoder, ...input }] = c.input_features
  const { validation_field: field, validation_metric: metric } = c.trainer
  return {
    ...c,
    base_model: resolvePreset(c.base_model),
    input_features: [
      { ...input, encoder: encoder === null ? null : fullEncoder(encoder, c.adapter !== null) },
    ],
    trainer: {
      ...withPreference(c.trainer),
      enable_gradient_checkpointing: c.trainer.enable_gradient_checkpointing ?? recomputes,
      ...validation(field, metric, c.output_features),
    },
  }
}

export const configCodec = completed<Open, Config>(open, complete)
