/** `input_features`, `output_features` and `prompt`. */
import type * as t from 'io-ts'

import { columnName } from '../template.ts'
import {
  completed,
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

export const prompt = section({
  /** Python `str.format` text over the dataset's columns. */
  template: withDefault(nullable(text), null),
  /** What `{__task__}` stands for; alone, it selects Ludwig's built-in template. */
  task: withDefault(nullable(text), null),
})
