/** A run that has learned preferences, measured again: against the model that it began with. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Sample } from '../data/samples.ts'
import { one, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { hasReference, preferenceOf, type Preference } from '../preference/preference.ts'
import { noReferences, referencesBy, type References } from '../preference/references.ts'
import { preferenceTask } from '../preference/task.ts'
import { blameRows } from '../train/evaluate.ts'
import type { Measured } from '../train/measured.ts'
import type { Trained } from './trained.ts'

/** What can be measured of the samples; null: answers alone, for the model that training began with is not at hand. */
export const comparable = ({ config }: Plan, trained: Trained): Preference | null => {
  const p = preferenceOf(config.trainer)
  if (p === null || !hasReference(p)) return p
  return trained.began ? p : null
}

/** The answers that are to be written. */
export const goodAnswers = (samples: ReadonlyArray<Sample>): ReadonlyArray<Sample> =>
  samples
    .filter((s) => s.desirable !== false)
    .map(({ row, prompt, target }) => ({ row, prompt, target }))

/** Asks the base before the adapter comes onto it, and measures when it is there. */
export const comparing = (p: Preference, plan: Plan, samples: ReadonlyArray<Sample>) => {
  let known: References = noReferences
  const blame = blameRows(plan.data!.table)
  return {
    first: (session: Session): TE.TaskEither<Issues, void> =>
      hasReference(p)
        ? pipe(
            referencesBy({ session, grid: plan.shapes, samples, blame }),
            TE.map((references) => {
              known = references
            }),
            TE.mapLeft(one),
          )
        : TE.right(undefined),
    measure: (session: Session): TE.TaskEither<Issues, Measured> =>
      TE.mapLeft(one)(
        preferenceTask(p, plan.shapes, session, (s) => known(s)).measure(session, samples, blame),
      ),
  }
}
