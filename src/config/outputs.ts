/** What a config's outputs are, asked of them together. */
import type { Config } from './schema/config.ts'
import type { CategoryOutput, LabelOutput } from './schema/outputs.ts'

/** Outputs that heads predict: all of `model_type: ecd`, none of `llm`. */
export const labelOutputs = (c: Config): ReadonlyArray<LabelOutput> =>
  c.model_type === 'llm' ? [] : c.output_features.flatMap((f) => (f.type === 'text' ? [] : [f]))

/** The output whose label stands in a language model's answer; null: the answer is the output. */
export const extracted = ({ model_type, output_features: [f] }: Config): CategoryOutput | null =>
  model_type === 'llm' && f.type === 'category' ? f : null

/** Tokens that an answer may have by its own cap; null: it has none. */
export const answerCap = ({ output_features: [first] }: Config): number | null =>
  first.type === 'text' ? first.preprocessing.max_sequence_length : null
