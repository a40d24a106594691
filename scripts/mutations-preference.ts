/** How learning from preferences is broken on purpose. */
import { m, type Mutation } from './mutation.ts'

export const preferenceMutations: ReadonlyArray<Mutation> = [
  m(
    'a preference loss that likes bad answers',
    'passes/prefer.ts',
    'const surprise = (b: Builder, x: Id): Id => b.alg.softplus(b.alg.scale(-1, x))',
    'const surprise = (b: Builder, x: Id): Id => b.alg.softplus(x)',
    'preference-golden',
  ),
  m(
    'the robust loss adds what it should take away',
    'passes/prefer.ts',
    'smoothed(b, x, o.smoothing, -1)',
    'smoothed(b, x, o.smoothing, 1)',
    'preference-golden',
  ),
  m(
    'pairs are weighed by micro-batch',
    'src/preference/feeds.ts',
    'weightOf(p, s) / whole.samples',
    'weightOf(p, s) / batch.samples.length',
    'preference',
  ),
  m(
    'orpo forgets the likelihood of prompts',
    'src/preference/task.ts',
    "...(p.loss._tag === 'orpo' ? { prompts: true } : {})",
    '...{}',
    'preference-golden',
  ),
  m(
    'the second answer of a pair draws the masks of the first',
    'src/data/pack.ts',
    'hash32(index, 0, before + i)',
    'hash32(index, 0, into.keys.length - into.keys.length + start + i)',
    'preference',
  ),
  m(
    'a damaged reference is believed',
    'src/preference/references.ts',
    'read.right.key === key && sumOf(JSON.stringify(values)) === read.right.sha256',
    'read.right.key === key',
    'preference-job',
  ),
  m(
    'a cotangent that waits for the loss is fused into it',
    'backends/cuda/lower/rules/loss.ts',
    'same && !waits',
    'same',
    'preference-backends',
  ),
  m(
    'ids outside count for the last one',
    'ir/ops/segments.ts',
    'if (id >= 0 && id < count) r[id]! += x[i]!',
    'r[Math.min(Math.max(id, 0), count - 1)]! += x[i]!',
    'ops',
  ),
]
