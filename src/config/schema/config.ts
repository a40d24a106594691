/** The whole file: every supported key, Ludwig's names and defaults, completed where one key follows another. */
import type * as t from 'io-ts'

import { columnName } from '../template.ts'
import { resolvePreset } from '../ludwig/presets.ts'
import { adapter, modelParameters, quantization } from './adapter.ts'
import { completed, numberThat, oneOf, section, text, withDefault, type Filled } from './codec.ts'
import { compiler } from './compiler.ts'
import { features, prompt } from './features.ts'
import { generation } from './generation.ts'
import { withPreference } from './preference.ts'
import { preprocessing } from './preprocessing.ts'
import { trainer, type OpenTrainer } from './trainer.ts'

const seed = numberThat(
  'a whole number from 0 to 4294967295',
  (n) => Number.isInteger(n) && n >= 0 && n < 2 ** 32,
)

const open = section({
  model_type: oneOf('llm'),
  /** A folder or a hub id; Ludwig's presets become hub ids. */
  base_model: text,
  input_features: features,
  output_features: features,
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
export type Config = Omit<Open, 'trainer'> & { readonly trainer: Trainer }

const complete = (c: Open): Config => {
  const recomputes = c.compiler.recompute === 'layers' || c.compiler.recompute === 'budget'
  return {
    ...c,
    base_model: resolvePreset(c.base_model),
    trainer: {
      ...withPreference(c.trainer),
      enable_gradient_checkpointing: c.trainer.enable_gradient_checkpointing ?? recomputes,
      validation_field: columnName(c.trainer.validation_field ?? c.output_features[0].name),
      validation_metric: c.trainer.validation_metric ?? 'loss',
    },
  }
}

export const configCodec = completed<Open, Config>(open, complete)
