/** Which state a backend may make by itself from the bytes of the base's files. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { StoredAs } from '../../backends/cuda/lower/loading-text.ts'
import type { State } from '../../ir/graph.ts'
import type { Float } from '../../ir/type.ts'
import type { Issue } from '../issue.ts'
import type { Base } from '../models/base.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { openFolder, type Checkpoint, type TensorEntry } from '../tensors/reader.ts'
import { keyOf, sameShape } from './state.ts'
import { holdsWeights } from './weights-there.ts'

/** Dtypes that a backend may read by itself. */
const floats: Readonly<Partial<Record<Dtype, Float>>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' }

/** The tensor whose values become a state's, one by one. */
const givenKey = ({ recipe }: State): string | null =>
  recipe._tag === 'split' ? null : keyOf(recipe)

/** The tensor of the base that becomes this state value by value, where a backend may take it. */
export const givenTo = (s: State, base: Checkpoint): readonly [TensorEntry, Float] | null => {
  const entry = base.tensors.get(givenKey(s) ?? '')
  const dtype = entry === undefined ? undefined : floats[entry.dtype]
  return entry === undefined || dtype === undefined || !sameShape(entry.shape, s.type.shape)
    ? null
    : [entry, dtype]
}

/** What the files of a base say; where there are none, weights are taken to be in bfloat16. */
export const storedAs = ({ folder }: Base): TE.TaskEither<Issue, StoredAs> =>
  folder === null || !holdsWeights(folder)
    ? TE.right((s) => (givenKey(s) === null ? null : 'bf16'))
    : pipe(
        openFolder(folder),
        TE.map((base) => (s) => givenTo(s, base)?.[1] ?? null),
      )
