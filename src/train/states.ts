/** State of a session as tensors of a file, and back. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as E from 'fp-ts/lib/Either.js'
import type { Session } from '../../backends/backend.ts'
import type { Program, Role, State } from '../../ir/graph.ts'
import { bytes, isEncoded, show, type Plain } from '../../ir/type.ts'
import { issue, type Issue } from '../issue.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { finiteBytes } from '../tensors/finite.ts'
import { openFile, type TensorFile } from '../tensors/reader.ts'
import type { TensorData } from '../tensors/writer.ts'
import { call } from './problem.ts'

const dtypes: { readonly [K in Plain]: Dtype } = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  i32: 'I32',
  i8: 'I8',
  u8: 'U8',
  bool: 'BOOL',
}

const rolled = (program: Program, roles: ReadonlyArray<Role>): ReadonlyArray<State> =>
  program.state.filter((s) => roles.includes(s.role))

/** What a file says of a state tensor; encoded ones are bytes. */
const storedAs = ({ type }: State): Pick<TensorData, 'dtype' | 'shape'> =>
  isEncoded(type.dtype)
    ? { dtype: 'U8', shape: [bytes(type)] }
    : { dtype: dtypes[type.dtype as Plain], shape: type.shape }

/** The bytes of a state tensor. Left also when a value is not finite: they are worth nothing. */
export const readState = (session: Session, s: State): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    call(session.read(s.name)),
    TE.chainEitherK((stored) =>
      pipe(
        finiteBytes({ name: s.name, shape: s.type.shape }, storedAs(s).dtype, stored),
        E.mapLeft((i): Issue => ({
          ...i,
          message: `${i.message}, and is not saved`,
          hint: 'lower trainer.learning_rate and continue from the last checkpoint',
        })),
      ),
    ),
  )

/** All state of some roles, each read when its turn comes. */
export const storedStates = (
  session: Session,
  program: Program,
  roles: ReadonlyArray<Role>,
): ReadonlyArray<TensorData> =>
  rolled(program, roles).map((s) => ({
    name: s.name,
    ...storedAs(s),
    data: () => readState(session, s),
  }))

const misfit = (s: State, file: TensorFile): Issue | null => {
  const entry = file.tensors.get(s.name)
  const { dtype, shape } = storedAs(s)
  const place = { file: file.path, path: s.name }
  if (entry === undefined) return issue(`the checkpoint has no ${s.name}`, place)
  return entry.dtype === dtype && entry.shape.join() === shape.join()
    ? null
    : issue(`the checkpoint holds ${s.name} as ${entry.dtype}[${entry.shape.join(', ')}]`, {
        ...place,
        expected: show(s.type),
      })
}

/** What is read of a tensor. Left: a number in it that is not finite, which no checkpoint was written with. */
const finite = (
  file: TensorFile,
  name: string,
  stored: Uint8Array,
): E.Either<Issue, Uint8Array> => {
  const entry = file.tensors.get(name)
  return entry === undefined ? E.right(stored) : finiteBytes(entry, entry.dtype, stored)
}

/** Writes all state of some roles from a file that `storedStates` filled. */
export const loadStates =
  (session: Session, program: Program, roles: ReadonlyArray<Role>, path: string) =>
  async (): Promise<E.Either<Issue, void>> => {
    const file = await openFile(path)()
    if (E.isLeft(file)) return file
    // All are looked at before any is written.
    const states = rolled(program, roles)
    const why = states.map((s) => misfit(s, file.right)).find((i) => i !== null)
    if (why !== undefined && why !== null) return E.left(why)
    for (const s of states) {
      const written = await pipe(
        file.right.read(s.name),
        TE.chainEitherK((stored) => finite(file.right, s.name, stored)),
        TE.chain((stored) => call(session.write(s.name, stored))),
      )()
      if (E.isLeft(written)) return written
    }
    return E.right(undefined)
  }
