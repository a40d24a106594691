/** A model whose numbers say nothing. */
import { issue } from '../issue.ts'

export const broken = issue('the model gives no finite score to any token, so none can be chosen', {
  hint: 'its weights overflowed in training (lower trainer.learning_rate), or compute_dtype is too narrow for it',
})
