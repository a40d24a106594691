/** A fully fine-tuned model as a folder of its own, in the dtypes of its base; the f32 masters are rounded once. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../../backends/backend.ts'
import type { Program, State } from '../../ir/graph.ts'
import { plainName } from '../hub/reference.ts'
import { issue, type Issue } from '../issue.ts'
import { atomicFolder, atomicWrite } from '../tensors/atomic.ts'
import { fromF32, toF32, type FloatDtype } from '../tensors/convert.ts'
import { roundedBytes } from '../tensors/finite.ts'
import { openFolder, type Checkpoint } from '../tensors/reader.ts'
import { writeSumsOf } from '../tensors/sums.ts'
import { writeFolder, type TensorData } from '../tensors/writer.ts'
import { readState } from '../train/states.ts'
import { asTheBase, type Carried } from './carried.ts'
import { copyModelFiles } from './files.ts'
import { SHARD_BYTES } from './merge.ts'
import { modelReadme } from './readme.ts'

/** What is trained, and what was to be and is held: a model is both. */
const trained = (p: Program): ReadonlyArray<State> =>
  p.state.filter((s) => s.role === 'train' || s.role === 'held')

/** F64 weights were read as f32, and are written so. */
const dtypeOf = (base: Checkpoint, s: State): FloatDtype => {
  const dtype = base.tensors.get(s.name)?.dtype
  return dtype === 'F16' || dtype === 'BF16' ? dtype : 'F32'
}

const TOO_LARGE =
  'training made it too large for the dtype of its base: lower trainer.learning_rate, or start from a base saved as bfloat16 or float32'

const rounded = (session: Session, s: State, dtype: FloatDtype): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    readState(session, s),
    TE.chainEitherK((bytes) => toF32('F32', bytes)),
    TE.chainEitherK((values) =>
      roundedBytes({ name: s.name, shape: s.type.shape }, dtype, fromF32(dtype, values), TOO_LARGE),
    ),
  )

const tensors = (session: Session, program: Program, base: Checkpoint): ReadonlyArray<TensorData> =>
  trained(program).map((s) => {
    const dtype = dtypeOf(base, s)
    return { name: s.name, dtype, shape: s.type.shape, data: () => rounded(session, s, dtype) }
  })

/** Reads a written model back. Left: a bit that differs from the session, or a model equal to its base. */
const prove =
  (session: Session, program: Program, base: Checkpoint, folder: string) =>
  async (): Promise<E.Either<Issue, void>> => {
    const written = await openFolder(folder)()
    if (E.isLeft(written)) return written
    let learned = false
    for (const s of trained(program)) {
      const three = await pipe(
        TE.Do,
        TE.bind('stored', () => written.right.read(s.name)),
        TE.bind('held', () => rounded(session, s, dtypeOf(base, s))),
        TE.bind('before', () => base.read(s.name)),
      )()
      if (E.isLeft(three)) return three
      const { stored, held, before } = three.right
      if (Buffer.compare(stored, held) !== 0)
        return E.left(
          issue('the written model differs from the trained one', { file: folder, path: s.name }),
        )
      learned ||= Buffer.compare(stored, before) !== 0
    }
    return learned
      ? E.right(undefined)
      : E.left(
          issue("the trained model equals its base in the base's dtype", {
            file: folder,
            hint: 'nothing was learned that it can hold: check the learning rate and the number of steps',
          }),
        )
  }

const card = (program: Program, base: Checkpoint, baseModel: string): Uint8Array => {
  const dtypes = new Set(trained(program).map((s) => dtypeOf(base, s)))
  return Buffer.from(modelReadme(plainName(baseModel), [...dtypes]))
}

/** Writes the model folder, which appears only once what lies in it has been read back and compared. */
export const exportModel = (
  session: Session,
  program: Program,
  baseModel: string,
  baseFolder: string,
  folder: string,
  carried: Carried = asTheBase,
): TE.TaskEither<Issue, void> =>
  pipe(
    openFolder(baseFolder),
    TE.chain((base) =>
      atomicFolder(folder, (temporary) =>
        pipe(
          writeFolder(temporary, tensors(session, program, base), { maxShardBytes: SHARD_BYTES }),
          TE.chainFirst(() => prove(session, program, base, temporary)),
          TE.chainFirst(() => copyModelFiles(base, temporary, carried)),
          TE.chainFirst(() =>
            atomicWrite(join(temporary, 'README.md'), card(program, base, baseModel)),
          ),
          TE.chain((sums) => writeSumsOf(temporary, sums)),
        ),
      ),
    ),
  )
