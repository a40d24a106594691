/** What a run learns, once its session holds the first weights: preferences are measured against those. */
import { dirname, join } from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import { splitNames } from '../data/split.ts'
import type { Issue } from '../issue.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'
import { hasReference, preferenceOf } from '../preference/preference.ts'
import { noReferences, referencesOf } from '../preference/references.ts'
import { preferenceTask } from '../preference/task.ts'
import { blameRows } from './evaluate.ts'
import type { TrainEvent } from './events.ts'
import { taskOf, type Task } from './task.ts'

/** Beside the results folders, for all of them. */
export const cacheOf = (results: string): string => join(dirname(results), 'cache')

export interface First {
  readonly session: Session
  readonly backend: string
  /** SHA-256 of the base's tensors. */
  readonly weights: string
  /** Of the adapter that training goes on from; null: a new one, which adds nothing yet. */
  readonly adapter: string | null
  /** Of a frozen encoder, where it has read all rows. */
  readonly vectors: ReadonlyMap<number, Float32Array> | undefined
}

/** The session must hold the weights that training begins with, and holds them afterwards. */
export const taskFrom = (
  plan: Plan,
  data: Dataset,
  { session, backend, weights, adapter, vectors }: First,
  results: string,
  onEvent: (event: TrainEvent) => void,
): TE.TaskEither<Issue, Task> => {
  const p = preferenceOf(plan.config.trainer)
  const { shapes, program } = plan
  if (p === null) return TE.right(taskOf(plan, vectors))
  if (!hasReference(p)) return TE.right(preferenceTask(p, shapes, session, noReferences))
  const cache = cacheOf(results)
  const samples = splitNames.flatMap((name) => data.samples[name])
  const blame = blameRows(data.table)
  return pipe(
    referencesOf(
      {
        ...{ session, program, grid: shapes, backend, samples, blame },
        weights: `${weights} ${adapter ?? ''}`,
      },
      cache,
    ),
    TE.map(({ references, sequences, known }) => {
      onEvent({ _tag: 'reference', sequences, computed: !known, cache })
      return preferenceTask(p, shapes, session, references)
    }),
  )
}
