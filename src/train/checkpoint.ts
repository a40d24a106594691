/**
 * Checkpoints: one folder `latest` with all that continuing needs, replaced as a whole.
 *
 * `state.safetensors` holds trained weights, optimizer and loss scale (not at step 0, where the base gives them;
 * gradients are zero between steps), `best.safetensors` the best weights so far, `progress.json` the rest, and
 * `SHA256SUMS` the checksums of these three, verified before anything of them is used.
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
import { atomicFolder, atomicWrite, settledFolder } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { readSums, sumOf, verifySums, writeSums, type Sum, type Sums } from '../tensors/sums.ts'
import { writeFile } from '../tensors/writer.ts'
import { differences, jobCodec, type Job } from './job.ts'
import { bestOf, progressCodec, unsound, type Progress } from './progress.ts'
import { loadStates, storedStates } from './states.ts'

const VERSION = 2
const STATE = 'state.safetensors'
const BEST = 'best.safetensors'
const PROGRESS = 'progress.json'

const fileCodec = t.strict({ version: t.literal(VERSION), job: jobCodec, progress: progressCodec })

const kept: ReadonlyArray<Role> = ['train', 'optimizer', 'scaler']
const trained: ReadonlyArray<Role> = ['train']

/** The checkpoints of a results folder. */
export const checkpointsOf = (resultsFolder: string): string =>
  join(resultsFolder, 'model', 'training_checkpoints')

const latestOf = (resultsFolder: string): string => join(checkpointsOf(resultsFolder), 'latest')

export interface Saving {
  readonly session: Session
  readonly program: Program
  readonly job: Job
  /** By which weights are the best. */
  readonly metric: string
  readonly resultsFolder: string
}

const lost = (folder: string, name: string): Issue =>
  issue(`the checkpoint has lost ${name}`, {
    file: folder,
    hint: 'restore it from a copy, or start the run anew in another results folder',
  })

/** Copies the best weights into the next checkpoint. The old one stands in its place: whoever replaces it has settled it. */
const keepBest = (old: string, to: string): TE.TaskEither<Issue, Sum> =>
  pipe(
    readSums(old),
    TE.chainEitherK((sums) => E.fromNullable(lost(old, BEST))(sums.get(BEST))),
    TE.chainFirst(() =>
      attempt('copy the best weights', old, () => fs.copyFile(join(old, BEST), join(to, BEST))),
    ),
  )

/** A file of the next checkpoint and its checksum; null: this one has none. */
type Written = TE.TaskEither<Issue, readonly [name: string, sum: Sum] | null>

const named =
  (name: string) =>
  (sum: TE.TaskEither<Issue, Sum>): Written =>
    TE.map((s: Sum) => [name, s] as const)(sum)

/** Replaces the checkpoint; `improved` weights become the best. Gives its folder. Left: the old one stands. */
export const save = (
  { session, program, job, metric, resultsFolder }: Saving,
  progress: Progress,
  improved: boolean,
): TE.TaskEither<Issue, string> => {
  const latest = latestOf(resultsFolder)
  const tensors = (folder: string, name: string, roles: ReadonlyArray<Role>): Written =>
    named(name)(writeFile(join(folder, name), storedStates(session, program, roles)))
  const best = (folder: string): Written =>
    improved
      ? tensors(folder, BEST, trained)
      : bestOf(progress.history, metric) === null
        ? TE.right(null)
        : named(BEST)(keepBest(latest, folder))
  const text = Buffer.from(
    JSON.stringify(fileCodec.encode({ version: VERSION, job, progress }), null, 1),
  )
  return pipe(
    attempt('make the folder', latest, () =>
      fs.mkdir(checkpointsOf(resultsFolder), { recursive: true }),
    ),
    TE.chain(() =>
      atomicFolder(latest, (folder) =>
        pipe(
          TE.Do,
          TE.bind('state', () =>
            progress.step === 0 ? TE.right(null) : tensors(folder, STATE, kept),
          ),
          TE.bind('best', () => best(folder)),
          TE.chainFirst(() => atomicWrite(join(folder, PROGRESS), text)),
          TE.chain((w) => {
            const written = [w.state, w.best].filter((x) => x !== null)
            return writeSums(folder, new Map([...written, [PROGRESS, sumOf(text)]]))
          }),
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
  /** Of its files, which have been verified. */
  readonly sums: Sums
}

const parse = (file: string, text: string): E.Either<Issue, Pick<Saved, 'job' | 'progress'>> =>
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

/** The checkpoint of a results folder; null: the run has not saved one yet. Left: something in it is not what was written. */
export const findSaved = (resultsFolder: string): TE.TaskEither<Issue, Saved | null> =>
  pipe(
    settledFolder(latestOf(resultsFolder)),
    TE.chain((folder) => {
      if (folder === null) return TE.right(null)
      const file = join(folder, PROGRESS)
      return pipe(
        TE.Do,
        TE.bind('sums', () =>
          pipe(
            verifySums(folder),
            TE.filterOrElse(
              (sums) => sums.has(PROGRESS),
              () => lost(folder, PROGRESS),
            ),
          ),
        ),
        TE.bind('text', () => attempt('read the file', file, () => fs.readFile(file, 'utf8'))),
        TE.bind('saved', ({ text }) => TE.fromEither(parse(file, text))),
        TE.map(({ sums, saved }) => ({ ...saved, sums, folder })),
      )
    }),
  )

/** What keeps a checkpoint from being continued by this job of `steps` optimizer steps, or null. */
export const refusal = (
  { job, metric }: Pick<Saving, 'job' | 'metric'>,
  saved: Saved,
  steps: number,
): Issue | null => {
  const { progress: p, sums, folder } = saved
  const gaps = differences(saved.job, job)
  if (gaps.length > 0)
    return issue(`this checkpoint belongs to another job: ${gaps.join('; ')}`, {
      file: folder,
      hint: 'restore what changed, or start a new run',
    })
  const why = unsound(p, steps)
  if (why !== null)
    return issue(`no run comes to such a progress: ${why}`, {
      file: join(folder, PROGRESS),
      hint: 'start the run anew in another results folder',
    })
  if (p.step > 0 && !sums.has(STATE)) return lost(folder, STATE)
  return bestOf(p.history, metric) !== null && !sums.has(BEST) ? lost(folder, BEST) : null
}

/**
 * Puts a checkpoint's tensors into the session of a run of `steps` optimizer steps.
 * Left: another job's, a progress that cannot be, or tensors that do not fit.
 */
export const restore = (
  saving: Saving,
  saved: Saved,
  steps: number,
): TE.TaskEither<Issue, Progress> => {
  const why = refusal(saving, saved, steps)
  if (why !== null) return TE.left(why)
  const { session, program } = saving
  return pipe(
    saved.progress.step === 0
      ? TE.right(undefined)
      : loadStates(session, program, kept, join(saved.folder, STATE)),
    TE.map(() => saved.progress),
  )
}

/** Puts the best weights into the session. Left also when they are not what was written. */
export const restoreBest = ({
  session,
  program,
  resultsFolder,
}: Saving): TE.TaskEither<Issue, void> => {
  const latest = latestOf(resultsFolder)
  return pipe(
    verifySums(latest, (name) => name === BEST),
    TE.filterOrElse(
      (sums) => sums.has(BEST),
      () => lost(latest, BEST),
    ),
    TE.chain(() => loadStates(session, program, trained, join(latest, BEST))),
  )
}
