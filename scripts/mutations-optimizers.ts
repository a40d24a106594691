/** Breaks of the optimizers, of the learning rate's course, and of what is held. */
import { m, type Mutation } from './mutation.ts'

export const optimizerMutations: ReadonlyArray<Mutation> = [
  m(
    'sgd dampens the first gradient',
    'passes/optimizers/sgd.ts',
    'alg.shift(1, alg.scale(-1, t))',
    'alg.scale(-1, t)',
    'optimizers',
  ),
  m(
    'adagrad forgets its past',
    'passes/optimizers/adagrad.ts',
    'alg.add(at.slots[0]!, alg.mul(g, g))',
    'alg.mul(g, g)',
    'optimizers',
  ),
  m(
    'lion keeps the momentum it steps by',
    'passes/optimizers/lion.ts',
    'slots: [mixed(at, o.beta2, m!, at.g)]',
    'slots: [mixed(at, o.beta1, m!, at.g)]',
    'optimizers',
  ),
  m(
    'decay of weights ignores the learning rate',
    'passes/optimizers/rule.ts',
    'alg.scaleBy(x, alg.shift(1, alg.scale(-decay, lr)))',
    'alg.scale(1 - decay, x)',
    'optimizers',
  ),
  m(
    'the exponential decay begins at 1',
    'src/train/course.ts',
    'const exponent = 1 + t / s.decay_steps',
    'const exponent = t / s.decay_steps',
    'train-rate',
  ),
  m(
    'a reduction is not capped',
    'src/train/plateau.ts',
    'if (reductions.length >= s.reduce_on_plateau) break',
    'if (s.reduce_on_plateau === 0) break',
    'train-rate',
  ),
  m(
    'patience is one evaluation shorter',
    'src/train/plateau.ts',
    'if (bad <= s.reduce_on_plateau_patience) continue',
    'if (bad < s.reduce_on_plateau_patience) continue',
    'train-rate',
  ),
  m(
    'what is held has gradients all the same',
    'passes/hold.ts',
    "{ ...s, role: 'held' }",
    '{ ...s }',
    'hold',
  ),
  m(
    'held adapters lie outside what a GPU narrows',
    'backends/cuda/lower/lower.ts',
    "s.role === 'train' || s.role === 'held'",
    "s.role === 'train'",
    'hold',
  ),
  m(
    'noise does not shrink with the length of a sample',
    'passes/neftune.ts',
    'alg.power(-0.5, lengths)',
    'alg.power(0, lengths)',
    'neftune',
  ),
  m(
    'every row has the same noise',
    'ir/ops/noise.ts',
    'i % columns, keys[row]!',
    'i % columns, 0',
    'neftune',
  ),
]
