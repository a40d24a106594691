/** By which metric the weights of a run are the best. */
import type { Config } from '../config/schema/config.ts'

/** As evaluations name it. */
export const metricOf = ({ trainer }: Config): string => trainer.validation_metric
