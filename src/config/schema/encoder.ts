/** What follows for a file from its `model_type`: the encoder's own defaults, and by which metric weights are the best. */
import { columnName } from '../template.ts'
import type { Encoder } from './features.ts'
import type { OutputFeature } from './outputs.ts'

/** An encoder of which nothing is left open. */
export interface FullEncoder {
  readonly type: 'llm' | 'auto_transformer' | 'passthrough'
  readonly trainable: boolean
  readonly reduce_output: 'last' | 'mean' | 'sum'
}

/** With an adapter the adapter is trained, whatever the encoder's type; Ludwig freezes it too unless told otherwise. */
export const fullEncoder = (e: Encoder, adapted: boolean): FullEncoder => ({
  type: e.type,
  trainable: e.trainable ?? (adapted || e.type !== 'auto_transformer'),
  reduce_output: e.reduce_output ?? (e.type === 'auto_transformer' ? 'sum' : 'last'),
})

/** Ludwig's `default_validation_metric`. */
const defaultMetric = {
  text: 'loss',
  category: 'accuracy',
  binary: 'roc_auc',
  number: 'mean_squared_error',
} as const

/** All features together; they have a loss alone. */
export const COMBINED = 'combined'

export const validation = <M extends string>(
  field: string | null,
  metric: M | null,
  outputs: readonly [OutputFeature, ...OutputFeature[]],
) => {
  const name = columnName(field ?? outputs[0].name)
  const of = outputs.find((f) => f.name === name)
  return {
    validation_field: name,
    validation_metric: metric ?? (of === undefined ? 'loss' : defaultMetric[of.type]),
  }
}
