/** What the CUDA backend makes of a program, as files: the launch list of every function, and the sources of its kernels. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Room } from '../../backends/backend.ts'
import {
  loadingLaunches,
  loadingText,
  type StoredAs,
} from '../../backends/cuda/lower/loading-text.ts'
import { lower } from '../../backends/cuda/lower/lower.ts'
import { lacking } from '../../backends/cuda/lower/needs.ts'
import { cardOf, cards, type Card } from '../../backends/cuda/lower/targets.ts'
import { constantsText, fnText, h100, headText } from '../../backends/cuda/lower/text.ts'
import { unitName, unitsOf, unitText } from '../../backends/cuda/lower/units.ts'
import type { Program } from '../../ir/graph.ts'
import { print } from '../../ir/print.ts'
import { issue, type Issue } from '../issue.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'

/** The card that an architecture's name stands for. */
export const cardNamed = (arch: string): E.Either<Issue, Card> =>
  pipe(
    cardOf(arch),
    E.fromNullable(
      issue(`there is no architecture "${arch}" to compile for`, {
        expected: `one of ${cards.map((c) => `sm_${c.target.arch}`).join(', ')}`,
      }),
    ),
  )

/** Names and texts: `program.ir`, `micro.launches`, …, `loading.launches`, `norm-E_BF16.cu`, …; the same for the same program, card, room and files. */
export const kernelFiles = (
  p: Program,
  card: Card,
  room: Room | null,
  storedAs: StoredAs,
): ReadonlyArray<readonly [string, string]> => {
  const lowered = lower(p, { ...card.target, ...room })
  return [
    ['program.ir', print(p)],
    ...lowered.fns.map(
      (f) => [`${f.name}.launches`, `${headText(lowered)}\n\n${fnText(f, h100)}\n`] as const,
    ),
    ...(lowered.constants.launches.length === 0
      ? []
      : [
          [
            'constants.launches',
            `${headText(lowered)}\n\n${constantsText(lowered, h100)}\n`,
          ] as const,
        ]),
    ['loading.launches', `${headText(lowered)}\n\n${loadingText(lowered, storedAs)}\n`],
    ...unitsOf(lowered, loadingLaunches(lowered, storedAs)).map(
      (u) => [`${unitName(u)}.cu`, unitText(u)] as const,
    ),
  ]
}

/** Left: the card cannot run the program. */
const runnable = (p: Program, card: Card): E.Either<Issue, void> => {
  const lacks = lacking(p, card.target)
  return lacks === null
    ? E.right(undefined)
    : E.left(issue(lacks.why, { path: 'compiler.compute_dtype', hint: lacks.hint }))
}

/** Writes them into a folder, made if need be; gives their names. */
export const writeKernels = (
  p: Program,
  card: Card,
  room: Room | null,
  storedAs: StoredAs,
  folder: string,
): TE.TaskEither<Issue, ReadonlyArray<string>> =>
  pipe(
    TE.fromEither(runnable(p, card)),
    TE.chain(() => attempt('create', folder, () => mkdir(folder, { recursive: true }))),
    TE.chain(() =>
      pipe(
        kernelFiles(p, card, room, storedAs),
        TE.traverseSeqArray(([name, text]) =>
          pipe(
            atomicWrite(path.join(folder, name), Buffer.from(text)),
            TE.map(() => name),
          ),
        ),
      ),
    ),
  )
