/** The frequencies of rotary position embedding. */
import type { Rope } from './algebra.ts'

/** Inverse frequencies, one per pair of dimensions. Llama-3 scaling: long waves ÷ factor, short kept, between blended. */
export const inverseFrequencies = (a: Rope): Float64Array =>
  new Float64Array(a.dim / 2).map((_, i) => {
    const f = a.theta ** ((-2 * i) / a.dim)
    if (a.highFreqFactor === 0) return f / a.factor
    const turns = (a.originalContext * f) / (2 * Math.PI)
    const smooth = (turns - a.lowFreqFactor) / (a.highFreqFactor - a.lowFreqFactor)
    const keep = Math.min(1, Math.max(0, smooth))
    return (1 - keep) * (f / a.factor) + keep * f
  })
