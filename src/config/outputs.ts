/** What a config's outputs are, asked of them together. */
import type { Config } from './schema/config.ts'
import type { LabelOutput } from './schema/outputs.ts'

/** Outputs that heads predict: all of `model_type: ecd`, none of `llm`. */
export const labelOutputs = (c: Config): ReadonlyArray<LabelOutput> =>
  c.output_features.flatMap((f) => (f.type === 'text' ? [] : [f]))

/** Tokens that an answer may have by its own cap; null: it has none. */
export const answerCap = ({ output_features: [first] }: Config): number | null =>
  first.type === 'text' ? first.preprocessing.max_sequence_length : null
