/** LoRA adapters as PEFT writes them: exported from a session and proven, imported into one and checked. */
import fs from 'node:fs/promises'
import { join, resolve } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program, State } from '../../ir/graph.ts'
import type { Lora } from '../../passes/index.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { atomicFolder, atomicWrite } from '../tensors/atomic.ts'
import { fromF32, toF32 } from '../tensors/convert.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { finiteValues } from '../tensors/finite.ts'
import { openFile, openFolder, type TensorEntry, type TensorFile } from '../tensors/reader.ts'
import { sumsName, verifySums, writeSumsOf } from '../tensors/sums.ts'
import { writeFile } from '../tensors/writer.ts'
import { call } from '../train/problem.ts'
import { readState } from '../train/states.ts'
import { configName, configText, readAdapterConfig, type AdapterConfig } from './config.ts'
import type { Carried } from './carried.ts'
import { copyFiles, tokenizerFiles, writeChanged } from './files.ts'
import { readme } from './readme.ts'

export const weightsName = 'adapter_model.safetensors'
const PREFIX = 'base_model.model.'

/** PEFT's name of a state tensor. */
export const peftName = (state: string): string => `${PREFIX}${state}`

/** What is trained, and what was to be and is held as it began: an adapter is both. */
const trained = (p: Program): ReadonlyArray<State> =>
  p.state.filter((s) => s.role === 'train' || s.role === 'held')

const isB = (name: string): boolean => name.endsWith('.lora_B.weight')

export interface Exported {
  readonly session: Session
  readonly program: Program
  readonly lora: Lora
  /** As the config names it. */
  readonly baseModel: string
  /** Where it lies. */
  readonly baseFolder: string
  readonly carried: Carried
}

/** Whether a session's adapter changes the base: B starts at zero, and with it the product. */
export const hasLearned = (session: Session, program: Program): TE.TaskEither<Issue, boolean> =>
  pipe(
    trained(program).filter((s) => isB(s.name)),
    TE.traverseSeqArray((s) => call(session.read(s.name))),
    TE.map((all) => all.some((bytes) => bytes.some((byte) => byte !== 0))),
  )

/** Reads a written adapter back. Left: a bit that differs from the session, or an adapter that changes nothing. */
const prove =
  ({ session, program }: Exported, path: string) =>
  async (): Promise<E.Either<Issue, void>> => {
    const file = await openFile(path)()
    if (E.isLeft(file)) return file
    for (const s of trained(program)) {
      const both = await pipe(
        TE.Do,
        TE.bind('stored', () => file.right.read(peftName(s.name))),
        TE.bind('held', () => call(session.read(s.name))),
      )()
      if (E.isLeft(both)) return both
      if (Buffer.compare(both.right.stored, both.right.held) !== 0)
        return E.left(
          issue('the written adapter differs from the trained one', { file: path, path: s.name }),
        )
    }
    const learned = await hasLearned(session, program)()
    if (E.isLeft(learned) || learned.right) return E.map(() => undefined)(learned)
    return E.left(
      issue('the adapter is a no-op: every B matrix is zero', {
        file: path,
        hint: 'nothing was learned: check the learning rate and the number of steps',
      }),
    )
  }

/** Writes the adapter folder, which appears only once what lies in it has been read back and compared. */
export const exportAdapter = (e: Exported, folder: string): TE.TaskEither<Issue, void> =>
  atomicFolder(folder, (temporary) =>
    pipe(
      writeFile(
        join(temporary, weightsName),
        trained(e.program).map((s) => ({
          name: peftName(s.name),
          dtype: 'F32',
          shape: s.type.shape,
          data: () => readState(e.session, s),
        })),
      ),
      TE.chainFirst(() => prove(e, join(temporary, weightsName))),
      TE.chainFirst(() =>
        atomicWrite(
          join(temporary, configName),
          // The name in the config is relative to it; PEFT would look from wherever it is called.
          Buffer.from(configText(e.lora, resolve(e.baseFolder))),
        ),
      ),
      TE.bindTo('sum'),
      TE.bind('base', () => openFolder(e.baseFolder)),
      TE.bind('changed', ({ base }) => writeChanged(base, temporary, e.carried)),
      TE.chainFirst(({ changed }) =>
        atomicWrite(
          join(temporary, 'README.md'),
          Buffer.from(readme(e.baseModel, resolve(e.baseFolder), changed, e.carried)),
        ),
      ),
      TE.chainFirst(() => copyFiles(e.baseFolder, temporary, tokenizerFiles)),
      TE.chain(({ sum }) => writeSumsOf(temporary, new Map([[weightsName, sum]]))),
    ),
  )

/** PEFT's own adapters have no checksums. */
const verified = (folder: string): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('read the adapter', folder, () => ifExists(() => fs.stat(join(folder, sumsName)))),
    TE.chain((has) => (has === undefined ? TE.right(undefined) : verifySums(folder))),
    TE.map(() => undefined),
  )

/** Opens an adapter folder. Left also when something in it is not what was written. */
export const openAdapter = (
  folder: string,
): TE.TaskEither<Issue, { readonly config: AdapterConfig; readonly file: TensorFile }> =>
  pipe(
    verified(folder),
    TE.chain(() => readAdapterConfig(folder)),
    TE.bindTo('config'),
    TE.bind('file', () => openFile(join(folder, weightsName))),
  )

const settingIssues = (config: AdapterConfig, lora: Lora, file: string): ReadonlyArray<Issue> => {
  const gap = (path: string, is: number, wanted: number): ReadonlyArray<Issue> =>
    is === wanted
      ? []
      : [
          issue(`the adapter has ${path} ${is}`, {
            file,
            path,
            expected: `${wanted}, as adapter.${path === 'r' ? 'r' : 'alpha'} says`,
          }),
        ]
  return [...gap('r', config.r, lora.r), ...gap('lora_alpha', config.alpha, lora.alpha)]
}

const tensorIssue = (
  s: State,
  entry: TensorEntry | undefined,
  { targets }: AdapterConfig,
  path: string,
): Issue | null =>
  entry === undefined
    ? issue(`the adapter has no ${peftName(s.name)}`, {
        file: path,
        path: peftName(s.name),
        hint: `its target_modules are ${typeof targets === 'string' ? targets : targets.join(', ')}: name the same in adapter.target_modules`,
      })
    : entry.shape.join() === s.type.shape.join()
      ? null
      : issue(`the adapter holds ${entry.name} of shape [${entry.shape.join(', ')}]`, {
          file: path,
          path: entry.name,
          expected: `[${s.type.shape.join(', ')}]`,
          hint: 'it was trained on another base model, or with another r',
        })

/** Everything by which an adapter does not fit a program. */
const misfits = (
  config: AdapterConfig,
  file: TensorFile,
  program: Program,
  lora: Lora,
): ReadonlyArray<Issue> => {
  const states = trained(program)
  const wanted = new Set(states.map((s) => peftName(s.name)))
  const extra = [...file.tensors.keys()].filter((n) => !wanted.has(n))
  return [
    ...settingIssues(config, lora, file.path),
    ...states.flatMap(
      (s) => tensorIssue(s, file.tensors.get(peftName(s.name)), config, file.path) ?? [],
    ),
    ...extra.map((path) =>
      issue(`the adapter holds ${path}, which the program has no place for`, {
        file: file.path,
        path,
        hint: 'name the same adapter.target_modules as in its training',
      }),
    ),
  ]
}

const MOST = 5

/** Puts an adapter folder's weights into a session. Left: all that does not fit (a few of each run of tensors). */
export const importAdapter = (
  session: Session,
  program: Program,
  lora: Lora,
  folder: string,
): TE.TaskEither<Issues, void> =>
  pipe(
    openAdapter(folder),
    TE.mapLeft(one),
    TE.chain(({ config, file }) => {
      const [first, ...rest] = misfits(config, file, program, lora)
      return first === undefined
        ? TE.mapLeft(one)(fill(session, trained(program), file))
        : TE.left<Issues, void>([first, ...rest.slice(0, MOST - 1)])
    }),
  )

const fill =
  (session: Session, states: ReadonlyArray<State>, file: TensorFile) =>
  async (): Promise<E.Either<Issue, void>> => {
    for (const s of states) {
      const name = peftName(s.name)
      const written = await pipe(
        file.read(name),
        TE.chainEitherK((bytes) => toF32(file.tensors.get(name)!.dtype, bytes)),
        TE.chainEitherK((values) => finiteValues(file.tensors.get(name)!, values)),
        TE.mapLeft((i): Issue => ({ file: file.path, path: name, ...i })),
        TE.chain((values) => call(session.write(s.name, fromF32('F32', values)))),
      )()
      if (E.isLeft(written)) return written
    }
    return E.right(undefined)
  }
