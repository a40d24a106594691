/** How often a run looks at a row. */
import type { Sample } from '../data/samples.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { evaluated } from './evaluate.ts'
import type { Run } from './schedule.ts'
import type { TrainResult } from './train.ts'

/** Rows that the steps and evaluations of a run looked at. */
export const readsOf = (
  { config: { trainer } }: Plan,
  { samples }: Dataset,
  run: Run,
  { steps, history }: Pick<TrainResult<unknown>, 'steps' | 'history'>,
): number => {
  const trained = Math.round((steps / run.stepsPerEpoch) * samples.train.length)
  const looked = (of: ReadonlyArray<Sample>) => evaluated(trainer, run.batching, of).length
  const each =
    looked(samples.validation) + (trainer.evaluate_training_set ? looked(samples.train) : 0)
  return trained + history.length * each + looked(samples.test)
}
