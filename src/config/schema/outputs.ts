/** `output_features`: what is written as text, or predicted by a head over the encoded text. */
import * as t from 'io-ts'

import { columnName } from '../template.ts'
import {
  atLeastZero,
  completed,
  fraction,
  guard,
  listOf,
  nullable,
  numberThat,
  oneOf,
  positive,
  required,
  section,
  share,
  tagged,
  text,
  truth,
  withDefault,
  type Filled,
} from './codec.ts'

/** Name and column as the data names them. */
const named = <A extends { readonly name: string; readonly column: string | null }>(
  f: A,
): Filled<A, 'column'> => ({
  ...f,
  name: columnName(f.name),
  column: columnName(f.column ?? f.name),
})

const common = {
  name: text,
  /** The dataset's column; the feature's name unless given. */
  column: withDefault(nullable(text), null),
}

const openText = section({
  ...common,
  type: oneOf('text'),
  preprocessing: section({
    /** Tokens; longer texts are cut on the right. Null: no cap of its own. */
    max_sequence_length: withDefault(nullable(positive), null),
  }),
})

/** Of the head: x·Wᵀ + b. */
const useBias = withDefault(truth, true)
/** Of the feature's loss in the sum over features. */
const weight = withDefault(atLeastZero, 1)
/** Share of a target that is spread over all classes. */
const labelSmoothing = withDefault(fraction, 0)

const classWeights = guard(
  'a map from each label to its weight',
  (u): u is Readonly<Record<string, number>> =>
    t.UnknownRecord.is(u) && Object.values(u).every((w) => atLeastZero.is(w)),
)

export interface Match {
  readonly type: 'contains' | 'regex'
  readonly value: string
}

const isMatch = (u: unknown): u is Match =>
  t.UnknownRecord.is(u) &&
  Object.keys(u).length === 2 &&
  ['contains', 'regex'].includes(String(u['type'])) &&
  typeof u['value'] === 'string' &&
  u['value'] !== ''

const matches = guard(
  'a map from each label to `{type: contains, value: words}` or `{type: regex, value: pattern}`',
  (u): u is Readonly<Record<string, Match>> =>
    t.UnknownRecord.is(u) && Object.keys(u).length > 0 && Object.values(u).every(isMatch),
)

const label = guard('text', t.string.is)
const labels = guard(
  'a list of labels',
  (u): u is ReadonlyArray<string> => Array.isArray(u) && u.every(t.string.is),
)

const openCategory = section({
  ...common,
  type: oneOf('category'),
  preprocessing: section({
    /** Of `model_type: llm`: what a row without a label has, and an answer in which none is found. */
    fallback_label: withDefault(label, ''),
    /** Labels besides those of the data. */
    vocab: withDefault(labels, []),
  }),
  decoder: section({
    /** Null in the file: a head with `model_type: ecd`, else the label is read out of the answer. */
    type: withDefault(nullable(oneOf('classifier', 'category_extractor')), null),
    use_bias: useBias,
    /** What tells each label in an answer, in the order in which they are tried; null: its own words. */
    match: withDefault(nullable(matches), null),
    /** Null: that of `preprocessing`. */
    fallback_label: withDefault(nullable(label), null),
  }),
  loss: section({
    type: withDefault(oneOf('softmax_cross_entropy'), 'softmax_cross_entropy'),
    weight,
    class_weights: withDefault(nullable(classWeights), null),
    label_smoothing: labelSmoothing,
  }),
  /** The k of hits at k. */
  top_k: withDefault(positive, 3),
})

const openBinary = section({
  ...common,
  type: oneOf('binary'),
  preprocessing: section({
    /** What counts as true where the column holds no usual words for it. */
    fallback_true_label: withDefault(nullable(text), null),
  }),
  decoder: section({ type: withDefault(oneOf('regressor'), 'regressor'), use_bias: useBias }),
  loss: section({
    type: withDefault(oneOf('binary_weighted_cross_entropy'), 'binary_weighted_cross_entropy'),
    weight,
    /** Null: as heavy as the negative ones. */
    positive_class_weight: withDefault(
      nullable(numberThat('a number greater than 0', (n) => n > 0)),
      null,
    ),
    label_smoothing: labelSmoothing,
  }),
  /** Probability from which a row counts as true. */
  threshold: withDefault(share, 0.5),
})

const openNumber = section({
  ...common,
  type: oneOf('number'),
  preprocessing: section({
    /** What is learned in place of the number; metrics and predictions are in its own unit. */
    normalization: withDefault(nullable(oneOf('zscore', 'minmax')), null),
  }),
  decoder: section({ type: withDefault(oneOf('regressor'), 'regressor'), use_bias: useBias }),
  loss: section({ type: withDefault(oneOf('mean_squared_error'), 'mean_squared_error'), weight }),
})

type Of<C extends t.Mixed> = Filled<t.TypeOf<C>, 'column'>
export type TextOutput = Of<typeof openText>
export type CategoryOutput = Of<typeof openCategory>
export type BinaryOutput = Of<typeof openBinary>
export type NumberOutput = Of<typeof openNumber>
/** Predicted by a head. */
export type LabelOutput = CategoryOutput | BinaryOutput | NumberOutput
export type OutputFeature = TextOutput | LabelOutput

const outputFeature = tagged<OutputFeature>('type', {
  text: completed<t.TypeOf<typeof openText>, TextOutput>(openText, named),
  category: completed<t.TypeOf<typeof openCategory>, CategoryOutput>(openCategory, named),
  binary: completed<t.TypeOf<typeof openBinary>, BinaryOutput>(openBinary, named),
  number: completed<t.TypeOf<typeof openNumber>, NumberOutput>(openNumber, named),
})

export const outputFeatures = required(listOf(outputFeature, 'output feature'))
