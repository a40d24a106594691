/** Batch arithmetic in Ludwig's terms: samples of a micro-batch, of an optimizer step, and steps of a run. */
import type { Config } from '../config/schema/config.ts'

export interface Batching {
  /** Samples of one of Ludwig's steps; what its step counts refer to. */
  readonly batch: number
  /** Ludwig's steps in one optimizer step. */
  readonly accumulation: number
  /** Samples of one optimizer step. */
  readonly effective: number
}

const known = (n: number | 'auto'): number | null => (n === 'auto' ? null : n)

/** `auto` follows from the others; a batch nobody gives is what one micro-step holds, `fitting` samples. */
export const batchingOf = (t: Config['trainer'], fitting: number): Batching => {
  const effective = known(t.effective_batch_size)
  const accumulation = known(t.gradient_accumulation_steps)
  const cap = Math.max(1, Math.min(fitting, t.max_batch_size))
  const batch =
    known(t.batch_size) ??
    (effective === null
      ? cap
      : accumulation === null
        ? Math.min(cap, effective)
        : Math.max(1, Math.floor(effective / accumulation)))
  const steps =
    accumulation ?? (effective === null ? 1 : Math.max(1, Math.round(effective / batch)))
  return { batch, accumulation: steps, effective: batch * steps }
}
