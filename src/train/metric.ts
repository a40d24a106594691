/** By which metric the weights of a run are the best. */
import type { Config } from '../config/schema/config.ts'
import { COMBINED } from '../config/schema/encoder.ts'

/** As evaluations name it. */
export const metricOf = ({ model_type, trainer }: Config): string => {
  const { validation_field: field, validation_metric: metric } = trainer
  return model_type === 'llm' || field === COMBINED ? metric : `${field}.${metric}`
}
