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

/** Two steps and everything that a run can write: first, better and kept checkpoint, adapter and merged model. */
export const crashJob: string = yaml('  steps_per_checkpoint: 1')
  .replace('  r: 2', '  postprocessor: { merge_adapter_into_base_model: true }\n  r: 2')
  .replace('gradient_accumulation_steps: 2', 'gradient_accumulation_steps: 3')
  .replace('epochs: 3', 'epochs: 1')
