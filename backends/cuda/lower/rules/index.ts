/** THE fusion rules, each with what it turns into what. An equation belongs to the first rule that claims it. */
import type { Rule } from '../rule.ts'
import { attention } from './attention.ts'
import { cotangent } from './cotangent.ts'
import { float8 } from './float8.ts'
import { float8Cotangent } from './float8-cotangent.ts'
import { float8Rows } from './float8-rows.ts'
import { few } from './few.ts'
import { gradient } from './gradient.ts'
import { greedy } from './greedy.ts'
import { linear } from './linear.ts'
import { loss } from './loss.ts'
import { norm } from './norm.ts'
import { residual } from './residual.ts'
import { rope } from './rope.ts'
import { token } from './token.ts'
import { update } from './update.ts'
import { update8 } from './update8.ts'
import { wide } from './wide.ts'

export const rules: ReadonlyArray<Rule> = [
  // Before `linear`: of few rows it would write more than it reads.
  few,
  wide,
  // Before `residual`: sums of adapters and of the stream belong to the layer.
  linear,
  cotangent,
  float8,
  float8Cotangent,
  // Before `norm`: it does the same and more.
  float8Rows,
  // Before `residual`: a gradient's sum goes into its buffer, with an f32 result.
  gradient,
  residual,
  // Before `rope`: it turns them itself.
  token,
  rope,
  attention,
  norm,
  loss,
  greedy,
  update,
  update8,
]
