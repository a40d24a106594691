/**
 * Checkpoints: one folder `latest` with all that continuing needs, replaced as a whole.
 *
 * `state.safetensors` holds trained weights, optimizer and loss scale (not at step 0, where the base gives them;
 * gradients are zero between steps), `best.safetensors` the best weights so far, `progress.json` the rest.
 */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import type { Session } from '../../backends/backend.ts'
import type { Program, Role } from '../../ir/graph.ts'
import { issue, type Issue } from '../issue.ts'
import { atomicFolder, atomicWrite, currentFolder } from '../tensors/atomic.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { writeFile } from '../tensors/writer.ts'
import { differences, jobCodec, type Job } from './job.ts'
import { progressCodec, type Progress } from './progress.ts'
import { loadStates, storedStates } from './states.ts'

const VERSION = 1
const [STATE, BEST, PROGRESS] = ['state.safetensors', 'best.safetensors', 'progress.json']

const fileCodec = t.strict({ version: t.literal(VERSION), job: jobCodec, progress: progressCodec })

const kept: ReadonlyArray<Role> = ['train', 'optimizer', 'scaler']
const trained: ReadonlyArray<Role> = ['train']

/** The checkpoints of a results folder. */
export const checkpointsOf = (resultsFolder: string): string =>
  join(resultsFolder, 'model', 'training_checkpoints')

const latestOf = (resultsFolder: string): string => join(checkpointsOf(resultsFolder), 'latest')

/** The place of the complete checkpoint, or null where there is none. */
const find = (resultsFolder: string): TE.TaskEither<Issue, string | null> =>
  pipe(
    attempt('read the folder', resultsFolder, () =>
      ifExists(() => fs.readdir(checkpointsOf(resultsFolder))),
    ),
    TE.chain((names) =>
      names?.some((n) => n === 'latest' || n === '.latest.replaced') === true
        ? currentFolder(latestOf(resultsFolder))
        : TE.right(null),
    ),
  )

const copyBest = (from: string | null, to: string): TE.TaskEither<Issue, void> =>
  from === null
    ? TE.right(undefined)
    : attempt('copy the best weights', from, async () => {
        await ifExists(() => fs.copyFile(join(from, BEST), join(to, BEST)))
      })

export interface Saving {
  readonly session: Session
  readonly program: Program
  readonly job: Job
  readonly resultsFolder: string
}

/** Replaces the checkpoint; `improved` weights become the best. Gives its folder. Left: the old one stands. */
export const save = (
  { session, program, job, resultsFolder }: Saving,
  progress: Progress,
  improved: boolean,
): TE.TaskEither<Issue, string> => {
  const latest = latestOf(resultsFolder)
  const write = (name: string, roles: ReadonlyArray<Role>, folder: string) =>
    writeFile(join(folder, name), storedStates(session, program, roles))
  const text = JSON.stringify(fileCodec.encode({ version: VERSION, job, progress }), null, 1)
  return pipe(
    attempt('make the folder', latest, () =>
      fs.mkdir(checkpointsOf(resultsFolder), { recursive: true }),
    ),
    TE.chain(() => find(resultsFolder)),
    TE.chain((old) =>
      atomicFolder(latest, (folder) =>
        pipe(
          progress.step === 0 ? TE.right(undefined) : write(STATE!, kept, folder),
          TE.chain(() => (improved ? write(BEST!, trained, folder) : copyBest(old, folder))),
          TE.chain(() => atomicWrite(join(folder, PROGRESS!), Buffer.from(text))),
        ),
      ),
    ),
    TE.map(() => latest),
  )
}

export interface Saved {
  readonly folder: string
  readonly job: Job
  readonly progress: Progress
}

const parse = (file: string, text: string): E.Either<Issue, Omit<Saved, 'folder'>> =>
  pipe(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => undefined,
    ),
    E.chainW(fileCodec.decode),
    E.mapLeft(() =>
      issue('this is no progress of a run that this version can continue', {
        file,
        hint: 'start the run anew in another results folder',
      }),
    ),
  )

/** The checkpoint of a results folder; null: the run has not saved one yet. */
export const findSaved = (resultsFolder: string): TE.TaskEither<Issue, Saved | null> =>
  pipe(
    find(resultsFolder),
    TE.chain((folder) => {
      if (folder === null) return TE.right(null)
      const file = join(folder, PROGRESS!)
      return pipe(
        attempt('read the file', file, () => fs.readFile(file, 'utf8')),
        TE.chainEitherK((text) => parse(file, text)),
        TE.map((saved) => ({ ...saved, folder })),
      )
    }),
  )

/** Puts a checkpoint's tensors into the session. Left: another job's, or tensors that do not fit. */
export const restore = (
  { session, program, job }: Saving,
  saved: Saved,
): TE.TaskEither<Issue, Progress> => {
  const gaps = differences(saved.job, job)
  if (gaps.length > 0)
    return TE.left(
      issue(`this checkpoint belongs to another job: ${gaps.join('; ')}`, {
        file: saved.folder,
        hint: 'restore what changed, or start a new run',
      }),
    )
  return pipe(
    saved.progress.step === 0
      ? TE.right(undefined)
      : loadStates(session, program, kept, join(saved.folder, STATE!)),
    TE.map(() => saved.progress),
  )
}

/** Puts the best weights into the session. */
export const restoreBest = ({
  session,
  program,
  resultsFolder,
}: Saving): TE.TaskEither<Issue, void> =>
  pipe(
    currentFolder(latestOf(resultsFolder)),
    TE.chain((folder) => loadStates(session, program, trained, join(folder, BEST!))),
  )
