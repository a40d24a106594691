/** `input_features`, `output_features` and `prompt`. */
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
  withDefault,
  type Filled,
} from './codec.ts'

const open = section({
  name: text,
  type: oneOf('text'),
  /** The dataset's column; the feature's name unless given. */
  column: withDefault(nullable(text), null),
  preprocessing: section({
    /** Tokens; longer texts are cut on the right. Null: no cap of its own. */
    max_sequence_length: withDefault(nullable(positive), null),
  }),
})

type Open = t.TypeOf<typeof open>
export type TextFeature = Filled<Open, 'column'>

const textFeature = completed<Open, TextFeature>(open, (f) => ({
  ...f,
  name: columnName(f.name),
  column: columnName(f.column ?? f.name),
}))

export const features = required(only(textFeature, 'text feature'))

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
