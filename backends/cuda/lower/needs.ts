/** What a program asks of a card beyond what every supported card has. */
import type { Program } from '../../../ir/graph.ts'
import { capabilityText } from '../driver/arch.ts'
import type { Target } from './context.ts'

/** Ada is the first with tensor cores for 8-bit floats. */
const FLOAT8 = 89

export interface Lack {
  readonly why: string
  readonly hint: string
}

/** Null, or why a card cannot compute in 8-bit floats and what to write instead. */
export const lackingFloat8 = (t: Target): Lack | null =>
  t.arch < FLOAT8
    ? {
        why: `compute_dtype float8 needs tensor cores for 8-bit floats, which GPUs have from compute capability ${capabilityText(FLOAT8)} (Ada, Hopper) on; this one has ${capabilityText(t.arch)}`,
        hint: `write \`compiler.compute_dtype: ${t.arch < 80 ? 'float16' : 'bfloat16'}\``,
      }
    : null

/** Null, or why a card cannot run a program. */
export const lacking = (p: Program, t: Target): Lack | null =>
  p.fns.some((f) => f.eqns.some((e) => e.op === 'float8Dot')) ? lackingFloat8(t) : null
