/** Ludwig's batch arithmetic: which of three numbers follows from the other two. */
import type { OpenTrainer } from './schema/trainer.ts'

type Auto = number | 'auto'

export interface Batch {
  /** Samples of one micro-batch. */
  readonly batch_size: Auto
  /** Micro-batches of one optimizer step. */
  readonly gradient_accumulation_steps: Auto
  /** Samples of one optimizer step. */
  readonly effective_batch_size: Auto
}

type BatchKeys = Pick<
  OpenTrainer,
  'batch_size' | 'gradient_accumulation_steps' | 'effective_batch_size'
>

const times = (a: Auto, b: Auto): Auto => (a === 'auto' || b === 'auto' ? 'auto' : a * b)

/**
 * One worker. What stays `auto` is for the compiler to choose. `batch_size` and
 * `gradient_accumulation_steps` together win over `effective_batch_size`.
 */
export const resolveBatch = (trainer: BatchKeys): Batch => {
  const {
    batch_size: batch,
    gradient_accumulation_steps: steps,
    effective_batch_size: all,
  } = trainer
  if (batch !== 'auto' && steps === 'auto') {
    const resolved = all === 'auto' ? 1 : Math.max(1, Math.floor(all / batch))
    return result(batch, resolved)
  }
  if (batch === 'auto' && steps !== 'auto' && all !== 'auto')
    return result(Math.max(1, Math.floor(all / steps)), steps)
  if (batch === 'auto' && steps === 'auto')
    return { batch_size: 'auto', gradient_accumulation_steps: 'auto', effective_batch_size: all }
  return result(batch, steps)
}

const result = (batch: Auto, steps: Auto): Batch => ({
  batch_size: batch,
  gradient_accumulation_steps: steps,
  effective_batch_size: times(batch, steps),
})
