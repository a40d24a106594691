/** LoRA adapters as PEFT writes them: opened, checked against a program, and put into a session. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { sizeOf } from '../../passes/index.ts'
import { issue, one, type Issue, type Issues } from '../issue.ts'
import { fromF32, toF32 } from '../tensors/convert.ts'
import { finiteValues } from '../tensors/finite.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { openFile, type TensorEntry, type TensorFile } from '../tensors/reader.ts'
import { sumsName, verifySums } from '../tensors/sums.ts'
import { call } from '../train/problem.ts'
import { readAdapterConfig, type Adapter } from './config.ts'
import { adaptedModules, trainedOf, weightsName, type Named } from './names.ts'

/** PEFT's own adapters have no checksums. */
const verified = (folder: string): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('read the adapter', folder, () => ifExists(() => fs.stat(join(folder, sumsName)))),
    TE.chain((has) => (has === undefined ? TE.right(undefined) : verifySums(folder))),
    TE.map(() => undefined),
  )

export interface Opened {
  readonly lora: Adapter
  readonly file: TensorFile
}

/** Opens an adapter folder. Left also when something in it is not what was written. */
export const openAdapter = (folder: string): TE.TaskEither<Issue, Opened> =>
  pipe(
    verified(folder),
    TE.chainEitherK(() => readAdapterConfig(folder)),
    TE.bindTo('lora'),
    TE.bind('file', () => openFile(join(folder, weightsName))),
  )

/** Where an adapter's rank and scale are not the program's: the setting that differs, or the first module. */
const settingIssues = (
  is: Adapter,
  wanted: Adapter,
  program: Program,
  file: string,
): ReadonlyArray<Issue> => {
  if (is.kind === 'ia3' || wanted.kind === 'ia3')
    return is.kind === wanted.kind
      ? []
      : [
          issue(`the adapter is of type ${is.kind ?? 'lora'}`, {
            file,
            path: 'peft_type',
            expected: `${wanted.kind ?? 'lora'}, as adapter.type says`,
          }),
        ]
  const gap = (path: string, key: 'r' | 'alpha'): ReadonlyArray<Issue> =>
    is[key] === wanted[key]
      ? []
      : [
          issue(`the adapter has ${path} ${is[key]}`, {
            file,
            path,
            expected: `${wanted[key]}, as adapter.${key} says`,
          }),
        ]
  const gaps = [...gap('r', 'r'), ...gap('lora_alpha', 'alpha')]
  if (gaps.length > 0) return gaps
  if ((is.dora ?? false) !== (wanted.dora ?? false))
    return [
      issue(`the adapter has use_dora ${is.dora ?? false}`, {
        file,
        path: 'use_dora',
        expected: `${wanted.dora ?? false}, as adapter.use_dora says`,
      }),
    ]
  const odd = adaptedModules(program).find((m) => sizeOf(is, m).scale !== sizeOf(wanted, m).scale)
  return odd === undefined
    ? []
    : [
        issue(`the adapter scales the product beside ${odd} by ${sizeOf(is, odd).scale}`, {
          file,
          path: odd,
          expected: String(sizeOf(wanted, odd).scale),
          hint: 'set adapter.use_rslora, adapter.rank_pattern and adapter.alpha_pattern as in its training',
        }),
      ]
}

const tensorIssue = (
  { name, shape }: Named,
  entry: TensorEntry | undefined,
  { targets }: Adapter,
  path: string,
): Issue | null =>
  entry === undefined
    ? issue(`the adapter has no ${name}`, {
        file: path,
        path: name,
        hint: `its target_modules are ${typeof targets === 'string' ? targets : targets.join(', ')}: name the same in adapter.target_modules`,
      })
    : entry.shape.join() === shape.join()
      ? null
      : issue(`the adapter holds ${entry.name} of shape [${entry.shape.join(', ')}]`, {
          file: path,
          path: entry.name,
          expected: `[${shape.join(', ')}]`,
          hint: 'it was trained on another base model, or with another r',
        })

/** Everything by which an adapter does not fit a program. */
const misfits = (
  is: Adapter,
  file: TensorFile,
  program: Program,
  wanted: Adapter,
): ReadonlyArray<Issue> => {
  const trained = trainedOf(program, wanted)
  const names = new Set(trained.map((t) => t.name))
  const extra = [...file.tensors.keys()].filter((n) => !names.has(n))
  return [
    ...settingIssues(is, wanted, program, file.path),
    ...trained.flatMap((t) => tensorIssue(t, file.tensors.get(t.name), is, file.path) ?? []),
    ...extra.map((path) =>
      issue(`the adapter holds ${path}, which the program has no place for`, {
        file: file.path,
        path,
        hint: 'set adapter.target_modules, adapter.modules_to_save and adapter.bias_type as in its training',
      }),
    ),
  ]
}

const MOST = 5

/** Puts an adapter folder's weights into a session. Left: all that does not fit (a few of each run of tensors). */
export const importAdapter = (
  session: Session,
  program: Program,
  lora: Adapter,
  folder: string,
): TE.TaskEither<Issues, void> =>
  pipe(
    openAdapter(folder),
    TE.mapLeft(one),
    TE.chain(({ lora: is, file }) => {
      const [first, ...rest] = misfits(is, file, program, lora)
      return first === undefined
        ? TE.mapLeft(one)(fill(session, trainedOf(program, lora), file))
        : TE.left<Issues, void>([first, ...rest.slice(0, MOST - 1)])
    }),
  )

/** The f32 values of a tensor of an adapter, as bytes. Left: it holds no floats, or one that is not finite. */
export const storedValues = (file: TensorFile, name: string): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    file.read(name),
    TE.chainEitherK((bytes) => toF32(file.tensors.get(name)!.dtype, bytes)),
    TE.chainEitherK((values) => finiteValues(file.tensors.get(name)!, values)),
    TE.map((values) => fromF32('F32', values)),
    TE.mapLeft((i): Issue => ({ file: file.path, path: name, ...i })),
  )

const fill =
  (session: Session, trained: ReadonlyArray<Named>, file: TensorFile) =>
  async (): Promise<E.Either<Issue, void>> => {
    for (const { state, name } of trained) {
      const written = await pipe(
        storedValues(file, name),
        TE.chain((values) => call(session.write(state.name, values))),
      )()
      if (E.isLeft(written)) return written
    }
    return E.right(undefined)
  }
