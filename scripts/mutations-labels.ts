/** Labels and collected values, broken. */
import { m, type Mutation } from './mutation.ts'

export const labelMutations: ReadonlyArray<Mutation> = [
  m(
    'a frozen encoder is trained along with its heads',
    'passes/heads.ts',
    "o.alone ? { ...s, role: 'frozen' } : s",
    's',
    'labels-train',
  ),
  m(
    'heads stay frozen beside an adapter',
    'passes/heads.ts',
    "isHead(s) ? { ...s, role: 'train' }",
    "isHead(s) ? { ...s, role: o.alone ? 'train' : s.role }",
    'labels-train',
  ),
  m(
    'a class without a logit counts as if it had the logit 1',
    'ir/ops/classes.ts',
    'const logits = new Float64Array(m)',
    'const logits = new Float64Array(m).fill(1)',
    'meaning',
  ),
  m(
    'the gradient of classes forgets how much all targets weigh',
    'ir/ops/classes.ts',
    'Math.exp(logits[first + c]! - lse) * all',
    'Math.exp(logits[first + c]! - lse)',
    'gradients',
  ),
  m(
    'class weights are not divided by what the batch weighs',
    'src/train/weights.ts',
    ': labels.reduce((s, label) => s + weights[label]!, 0)',
    ': labels.length',
    'golden-labels',
  ),
  m(
    'a mean is taken over one token too many',
    'src/train/label-task.ts',
    'const length = b.positions[i]! + 1',
    'const length = b.positions[i]! + 2',
    'golden-labels',
  ),
  m(
    'vectors of the cache go to the row before',
    'src/train/encode.ts',
    'vectors.set(keyOfSample(samples[s]!)',
    'vectors.set(keyOfSample(samples[Math.max(0, s - 1)]!)',
    'labels-train',
  ),
  m(
    'equal scores count as lost pairs',
    'src/train/scores.ts',
    'ranks[ranked[k]!.i] = (from + 1 + to) / 2',
    'ranks[ranked[k]!.i] = to',
    'labels',
  ),
  m(
    'a stratified split forgets its column',
    'src/data/split.ts',
    'at: (i + 0.5) / all.length',
    'at: row',
    'labels',
  ),
  m(
    'a module’s output is collected without its adapter',
    'passes/collect.ts',
    "(next.op === 'add' && other !== undefined && isLow(other, module))",
    'false',
    'activations',
  ),
  m(
    'hidden_states ends before the last norm',
    'passes/collect.ts',
    '[...embed, ...layers.slice(0, -1), ...last]',
    '[...embed, ...layers]',
    'activations',
  ),
  m(
    'the label that is tried last wins',
    'src/predict/labels.ts',
    'matches.find(',
    'matches.findLast(',
    'extract',
  ),
]
