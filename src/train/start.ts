/** Where trained tensors start: as their recipes say, or as the adapter that a run goes on from has them. */
import { join } from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { lazy } from '../../ir/op.ts'
import type { Session } from '../../backends/backend.ts'
import type { Start } from '../adapter/written.ts'
import { importAdapter, openAdapter, storedValues } from '../adapter/import.ts'
import { trainedOf, weightsName } from '../adapter/names.ts'
import { one, type Issues } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { sumOfFile, type Sum } from '../tensors/sums.ts'
import { firstOf } from './initialize.ts'
import { openBase } from './state.ts'

type Planned = Pick<Plan, 'base' | 'program' | 'config' | 'pretrained'>

/** Bytes of a trained tensor before the first step. */
export const startOf = ({ base, program, config, pretrained }: Planned): Start => {
  // Opened once: what is made for one tensor may serve the next.
  const opened = lazy(() =>
    pretrained === null
      ? pipe(
          openBase(base, program),
          TE.map((checkpoint) => firstOf(checkpoint, config.random_seed)),
        )()
      : pipe(
          openAdapter(pretrained.folder),
          TE.map(({ file, lora }): Start => {
            const names = new Map(trainedOf(program, lora).map((t) => [t.state.name, t.name]))
            return (s) => storedValues(file, names.get(s.name)!)
          }),
        )(),
  )
  return (s) => TE.chain((start: Start) => start(s))(opened)
}

/** Puts the adapter that a run goes on from into a session, and gives the SHA-256 of its file; null: there is none. Left: it fits another base. */
export const goOn = (
  { program, pretrained }: Planned,
  session: Session,
): TE.TaskEither<Issues, Sum | null> =>
  pretrained === null
    ? TE.right(null)
    : pipe(
        importAdapter(session, program, pretrained.lora, pretrained.folder),
        TE.chain(() => TE.mapLeft(one)(sumOfFile(join(pretrained.folder, weightsName)))),
      )
