/** Trained heads as files: `heads.safetensors`, and `heads.json` that says what each of them predicts. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import type { Session } from '../../backends/backend.ts'
import type { Program } from '../../ir/graph.ts'
import { HEADS } from '../../passes/heads.ts'
import { labelOutputs } from '../config/outputs.ts'
import type { Config } from '../config/schema/config.ts'
import type { Target } from '../data/targets.ts'
import { issue, type Issue } from '../issue.ts'
import type { Labels } from '../models/labels.ts'
import { atomicFolder, atomicWrite, currentFolder } from '../tensors/atomic.ts'
import { sumOf, verifySums, writeSums } from '../tensors/sums.ts'
import { writeFile } from '../tensors/writer.ts'
import { readJsonFile } from '../text-file.ts'
import { loadStates, storedStates } from './states.ts'

const WEIGHTS = 'heads.safetensors'
const MEANING = 'heads.json'

/** Beside the weights of the model. */
export const headsFolder = (results: string): string => join(results, 'model', 'heads')

const meaning = t.union([
  t.type({ kind: t.literal('category'), name: t.string, classes: t.readonlyArray(t.string) }),
  t.type({ kind: t.literal('binary'), name: t.string, classes: t.tuple([t.string, t.string]) }),
  t.type({ kind: t.literal('number'), name: t.string, shift: t.number, scale: t.number }),
])
const fileCodec = t.type({ pool: t.string, heads: t.readonlyArray(meaning) })

const meant = ({ of, ...rest }: Target): object => ({ name: of.name, ...rest })

/** The program's heads and nothing else of it. */
const onlyHeads = (p: Program): Program => ({
  ...p,
  state: p.state.filter(
    (s) => (s.role === 'train' || s.role === 'held') && s.name.startsWith(HEADS),
  ),
})

/** All but the heads, for whoever writes the model beneath them. */
export const withoutHeads = (p: Program): Program => ({
  ...p,
  state: p.state.filter((s) => !s.name.startsWith(HEADS)),
})

/** Writes the folder, whole or not at all. */
export const exportHeads = (
  session: Session,
  program: Program,
  labels: Labels,
  targets: ReadonlyArray<Target>,
  folder: string,
): TE.TaskEither<Issue, void> => {
  const text = Buffer.from(
    `${JSON.stringify({ pool: labels.pool, heads: targets.map(meant) }, null, 2)}\n`,
  )
  return atomicFolder(folder, (temporary) =>
    pipe(
      writeFile(
        join(temporary, WEIGHTS),
        storedStates(session, onlyHeads(program), ['train', 'held']),
      ),
      TE.chainFirst(() => atomicWrite(join(temporary, MEANING), text)),
      TE.chain((sum) =>
        writeSums(
          temporary,
          new Map([
            [WEIGHTS, sum],
            [MEANING, sumOf(text)],
          ]),
        ),
      ),
    ),
  )
}

const targetsOf = (
  c: Config,
  file: string,
  heads: t.TypeOf<typeof fileCodec>['heads'],
): E.Either<Issue, ReadonlyArray<Target>> =>
  pipe(
    labelOutputs(c),
    E.traverseArray((of): E.Either<Issue, Target> => {
      const head = heads.find((h) => h.name === of.name)
      if (head?.kind === 'category' && of.type === 'category')
        return E.right({ kind: 'category', of, classes: head.classes })
      if (head?.kind === 'binary' && of.type === 'binary')
        return E.right({ kind: 'binary', of, classes: head.classes })
      if (head?.kind === 'number' && of.type === 'number')
        return E.right({ kind: 'number', of, shift: head.shift, scale: head.scale })
      return E.left(issue(`these heads do not predict ${of.name}`, { file }))
    }),
  )

/** What the heads of a run predict. Left: they are not what was written. */
export const readMeaning = (
  results: string,
  config: Config,
): TE.TaskEither<Issue, ReadonlyArray<Target>> =>
  pipe(
    currentFolder(headsFolder(results)),
    TE.mapLeft(() =>
      issue('the run has not finished, so there are no heads', {
        file: results,
        hint: 'finish it with `tunec train CONFIG --resume FOLDER`',
      }),
    ),
    TE.chainFirst((folder) => verifySums(folder)),
    TE.chain((folder) => {
      const file = join(folder, MEANING)
      return pipe(
        TE.fromEither(readJsonFile(file)),
        TE.chainEitherK((json) =>
          pipe(
            fileCodec.decode(json),
            E.mapLeft(() => issue('this is no description of heads', { file })),
          ),
        ),
        TE.chainEitherK(({ heads }) => targetsOf(config, file, heads)),
      )
    }),
  )

/** Puts a run's heads into a session. */
export const importHeads = (
  session: Session,
  program: Program,
  results: string,
): TE.TaskEither<Issue, void> =>
  pipe(
    currentFolder(headsFolder(results)),
    TE.chain((folder) =>
      loadStates(session, onlyHeads(program), ['train', 'held'], join(folder, WEIGHTS)),
    ),
  )
