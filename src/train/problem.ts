/** What a backend reports, in the words of the rest: an issue. */
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { BackendError } from '../../backends/backend.ts'
import { issue, type Issue } from '../issue.ts'

export const ofBackend = (e: BackendError): Issue =>
  issue(`${e.backend}: ${e.message}`, e.hint === undefined ? {} : { hint: e.hint })

/** A backend's call among those that fail with an issue. */
export const call: <A>(run: TE.TaskEither<BackendError, A>) => TE.TaskEither<Issue, A> =
  TE.mapLeft(ofBackend)
