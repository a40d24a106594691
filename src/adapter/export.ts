/** LoRA adapters as PEFT writes them: exported from a session, and proven. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { issue, type Issue } from '../issue.ts'
import { atomicFolder, atomicWrite } from '../tensors/atomic.ts'
import { openFile, openFolder, type Checkpoint } from '../tensors/reader.ts'
import { writeSumsOf } from '../tensors/sums.ts'
import { writeFile } from '../tensors/writer.ts'
import { call } from '../train/problem.ts'
import type { Carried } from './carried.ts'
import { plainName, referenceTo } from '../hub/reference.ts'
import { configName, configText, type Adapter } from './config.ts'
import { copyFiles, tokenizerFiles, writeChanged } from './files.ts'
import { isA, weightsName } from './names.ts'
import { readme } from './readme.ts'
import { asWritten, writtenOf, type Start, type Written } from './written.ts'

export interface Exported {
  readonly session: Session
  readonly program: Program
  readonly lora: Adapter
  /** As the config names it. */
  readonly baseModel: string
  /** Where it lies. */
  readonly baseFolder: string
  readonly carried: Carried
  readonly start: Start
}

/** Whether a session's adapter changes what it began as; A alone changes nothing. */
export const hasLearned =
  (session: Session, program: Program, start: Start): TE.TaskEither<Issue, boolean> =>
  async () => {
    for (const state of program.state.filter((s) => s.role === 'train' && !isA(s.name))) {
      const both = await pipe(
        TE.Do,
        TE.bind('was', () => start(state)),
        TE.bind('is', () => call(session.read(state.name))),
      )()
      if (E.isLeft(both)) return both
      if (Buffer.compare(both.right.was, both.right.is) !== 0) return E.right(true)
    }
    return E.right(false)
  }

/** Reads a written adapter back. Left: a bit that differs from the session, or an adapter that changes nothing. */
const prove =
  ({ session, program, start }: Exported, all: ReadonlyArray<Written>, path: string) =>
  async (): Promise<E.Either<Issue, void>> => {
    const file = await openFile(path)()
    if (E.isLeft(file)) return file
    for (const { name, data } of all) {
      const both = await pipe(
        TE.Do,
        TE.bind('stored', () => file.right.read(name)),
        TE.bind('held', () => data()),
      )()
      if (E.isLeft(both)) return both
      if (Buffer.compare(both.right.stored, both.right.held) !== 0)
        return E.left(
          issue('the written adapter differs from the trained one', { file: path, path: name }),
        )
    }
    const learned = await hasLearned(session, program, start)()
    if (E.isLeft(learned) || learned.right) return E.map(() => undefined)(learned)
    return E.left(
      issue('the adapter is a no-op: every trained tensor but A is as it began', {
        file: path,
        hint: 'nothing was learned: check the learning rate and the number of steps',
      }),
    )
  }

/** Whether weights of the base are trained themselves that it holds in fewer bits. */
const isWide = (program: Program, base: Checkpoint): boolean =>
  program.state.some((s) => {
    const dtype = s.role === 'train' ? base.tensors.get(s.name)?.dtype : undefined
    return dtype !== undefined && dtype !== 'F32' && dtype !== 'F64'
  })

/** Writes the adapter folder, which appears only once what lies in it has been read back and compared. */
export const exportAdapter = (e: Exported, folder: string): TE.TaskEither<Issue, void> => {
  const all = writtenOf(e.session, e.program, e.lora, e.start)
  return atomicFolder(folder, (temporary) =>
    pipe(
      writeFile(
        join(temporary, weightsName),
        all.map((w) => ({ ...w, dtype: 'F32' as const })),
      ),
      TE.chainFirst(() => prove(e, all, join(temporary, weightsName))),
      TE.chainFirst(() =>
        atomicWrite(
          join(temporary, configName),
          // A path in the config is relative to it; PEFT would look from wherever it is called.
          Buffer.from(configText(asWritten(e.lora), referenceTo(e.baseModel, e.baseFolder))),
        ),
      ),
      TE.bindTo('sum'),
      TE.bind('base', () => openFolder(e.baseFolder)),
      TE.bind('changed', ({ base }) => writeChanged(base, temporary, e.carried)),
      TE.chainFirst(({ base, changed }) =>
        atomicWrite(
          join(temporary, 'README.md'),
          Buffer.from(
            readme(
              plainName(e.baseModel),
              referenceTo(e.baseModel, e.baseFolder),
              changed,
              e.carried,
              isWide(e.program, base),
            ),
          ),
        ),
      ),
      TE.chainFirst(() => copyFiles(e.baseFolder, temporary, tokenizerFiles)),
      TE.chain(({ sum }) => writeSumsOf(temporary, new Map([[weightsName, sum]]))),
    ),
  )
}
