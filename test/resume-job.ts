/** The job that is interrupted: everything on that a resumption could get wrong. */
import { yaml } from './train-job.ts'

export const resumed: string = yaml(
  [
    '  steps_per_checkpoint: 2',
    '  early_stop: 4',
    '  validation_metric: perplexity',
    '  evaluate_training_set: true',
    '  learning_rate_scheduler: { decay: cosine, warmup_fraction: 0.2, t_0: 6 }',
  ].join('\n'),
)
  .replace('dropout: 0', 'dropout: 0.2')
  .replace('epochs: 3', 'epochs: 5')
