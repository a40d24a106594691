/** `input_features` and `prompt`. */
import type * as t from 'io-ts'

import { columnName } from '../template.ts'
import {
  completed,
  natural,
  nullable,
  oneOf,
  only,
  positive,
  required,
  section,
  text,
  truth,
  withDefault,
  type Filled,
} from './codec.ts'

/** Of `model_type: ecd`: how a text becomes one vector. The model itself, its adapter and its quantization stand at the top level. */
const encoder = withDefault(
  nullable(
    section({
      type: oneOf('llm', 'auto_transformer', 'passthrough'),
      /** Null in the file: `llm` is trained, `auto_transformer` is not; with an adapter that alone is. */
      trainable: withDefault(nullable(truth), null),
      /** Null in the file: of `llm` the last token's vector, of `auto_transformer` the sum, as in Ludwig. */
      reduce_output: withDefault(nullable(oneOf('last', 'mean', 'sum')), null),
    }),
  ),
  null,
)
export type Encoder = NonNullable<t.TypeOf<typeof encoder>>

const open = section({
  name: text,
  type: oneOf('text'),
  /** The dataset's column; the feature's name unless given. */
  column: withDefault(nullable(text), null),
  preprocessing: section({
    /** Tokens; longer texts are cut on the right. Null: no cap of its own. */
    max_sequence_length: withDefault(nullable(positive), null),
    /** A frozen encoder reads each row once. */
    cache_encoder_embeddings: withDefault(truth, false),
  }),
  encoder,
})

type Open = t.TypeOf<typeof open>
export type TextFeature = Filled<Open, 'column'>

const textFeature = completed<Open, TextFeature>(open, (f) => ({
  ...f,
  name: columnName(f.name),
  column: columnName(f.column ?? f.name),
}))

export const inputFeatures = required(only(textFeature, 'text feature'))

const openRetrieval = section({
  /** Null: none; random: any training rows; semantic: those most alike. */
  type: withDefault(nullable(oneOf('random', 'semantic')), null),
  /** Rows shown with each prompt; with a type at least 1. */
  k: withDefault(natural, 0),
  /** A folder with the model whose embeddings are compared; null: the base model itself. */
  model_name: withDefault(nullable(text), null),
})

type OpenRetrieval = t.TypeOf<typeof openRetrieval>

const retrieval = completed<OpenRetrieval, OpenRetrieval>(openRetrieval, (r) => ({
  ...r,
  k: r.type === null ? r.k : Math.max(1, r.k),
}))

export const prompt = section({
  /** Python `str.format` text over the dataset's columns. */
  template: withDefault(nullable(text), null),
  /** What `{__task__}` stands for; alone, it selects Ludwig's built-in template. */
  task: withDefault(nullable(text), null),
  /** Training rows with their answers, which `{__context__}` stands for. */
  retrieval,
})
