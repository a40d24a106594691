/** Ways to break what asks a model: freezing, answers, beams, penalties. */
import { m, type Mutation } from './mutation.ts'
import { labelMutations } from './mutations-labels.ts'

export const asking: ReadonlyArray<Mutation> = [
  ...labelMutations,
  m(
    'a row is shown its own answer',
    'src/retrieval/contexts.ts',
    'pool.table === asked && candidate === row',
    'false',
    'retrieval',
  ),
  m(
    'rows that are held out are shown',
    'src/retrieval/pool.ts',
    'split.train.filter(',
    '[...split.train, ...split.test].filter(',
    'retrieval',
  ),
  m(
    'the farthest rows are shown',
    'src/retrieval/neighbours.ts',
    'b.near - a.near',
    'a.near - b.near',
    'retrieval',
  ),
  m(
    'an embedding counts padding',
    'src/retrieval/encoder.ts',
    'weights.fill(1 / ids.length, r * size + at, r * size + at + ids.length)',
    'weights.fill(1 / ids.length, r * size + at, r * size + at + g.length)',
    'retrieval',
  ),
  m(
    'beams leave their caches behind',
    'src/generate/beam-batch.ts',
    'from[i * b.width + beam] = i * b.width + parent',
    'from[i * b.width + beam] = i * b.width + beam',
    'generate-search',
  ),
  m(
    'an answer of beams is not weighed by its length',
    'src/generate/beams.ts',
    'f32(c.score / length ** b.lengthPenalty)',
    'f32(c.score)',
    'generate-search',
  ),
  m(
    'a beam that has ended goes on',
    'src/generate/beams.ts',
    'f32(c.score + NEVER)',
    'c.score',
    'generate-search',
  ),
  m(
    'a repetition makes negative scores likelier',
    'src/generate/constraints.ts',
    'x < 0 ? x * c.repetition : x / c.repetition',
    'x / c.repetition',
    'generate-search',
  ),
  m(
    'rows of a cache are taken from the wrong place',
    'ir/ops/linalg.ts',
    'a.length / dim(args, 0, 0)',
    'dim(args, 0, 1)',
    'ops',
  ),
  m(
    'freeze leaves every weight trained',
    'passes/freeze.ts',
    "{ ...s, role: 'frozen' }",
    '{ ...s }',
    'passes',
  ),
]
