/** Whether a job can be planned at all: every byte count has to be an exact number, far below 2^53. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import { parametersOf } from '../models/bounds.ts'
import type { Shapes } from '../models/llama.ts'
import type { ModelSpec } from '../models/spec.ts'
import { size } from '../report/units.ts'

/** Half of what a number counts exactly. */
const MOST = 2 ** 52

/** More values of a token than any function keeps: forward, gradients, and the widths that they are kept in. */
const valuesOf = (s: ModelSpec): number =>
  s.layers * (16 * s.hidden + 8 * s.intermediate + 8 * s.heads * s.headDim) + 8 * s.vocab

/** Not less than the arena; it may be more. */
const roughly = (s: ModelSpec, { rows, length, generate: g }: Shapes): number =>
  4 *
  (4 * parametersOf(s) +
    rows * length * valuesOf(s) +
    (g === null
      ? 0
      : g.batch * (g.prompt * valuesOf(s) + 2 * g.capacity * s.layers * s.kvHeads * s.headDim)))

/** Left: so many tokens for such a model that their bytes could not be counted. */
export const countable = (s: ModelSpec, shapes: Shapes): E.Either<Issue, Shapes> =>
  roughly(s, shapes) <= MOST
    ? E.right(shapes)
    : E.left(
        issue(
          `${shapes.rows} rows of ${shapes.length} tokens of this model take more memory than can be counted`,
          {
            path: 'compiler.row_length',
            expected: `less than ${size(MOST)}`,
            hint: 'lower compiler.row_length, compiler.micro_batch_rows or preprocessing.global_max_sequence_length',
          },
        ),
      )
