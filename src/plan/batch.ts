/** Batch arithmetic in Ludwig's terms: samples of a micro-batch, of an optimizer step, and steps of a run. */
import { resolveBatch, type Config } from '../config/index.ts'

export interface Batching {
  /** Samples of one of Ludwig's steps; what its step counts refer to. */
  readonly batch: number
  /** Ludwig's steps in one optimizer step. */
  readonly accumulation: number
  /** Samples of one optimizer step. */
  readonly effective: number
}

/** What the config leaves to `auto` is chosen here: a batch nobody gives is what one micro-step holds, `fitting` samples. */
export const batchingOf = (t: Config['trainer'], fitting: number): Batching => {
  const resolved = resolveBatch(t)
  const whole = resolved.effective_batch_size
  const cap = Math.max(1, Math.min(fitting, t.max_batch_size, whole === 'auto' ? Infinity : whole))
  const batch = resolved.batch_size === 'auto' ? cap : resolved.batch_size
  const steps = resolved.gradient_accumulation_steps
  const accumulation =
    steps !== 'auto' ? steps : whole === 'auto' ? 1 : Math.max(1, Math.round(whole / batch))
  return { batch, accumulation, effective: batch * accumulation }
}
