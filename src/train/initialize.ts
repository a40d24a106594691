/** The state a run starts from: every tensor made by its recipe, the base read one tensor at a time. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { BackendError, Loader, Session, Stored } from '../../backends/backend.ts'
import { materialize } from '../../backends/materialize.ts'
import { encodes, type Program, type State } from '../../ir/graph.ts'
import { rowLengths } from '../../ir/initial.ts'
import { dequantize, scalesOf } from '../../ir/encoding.ts'
import { isEncoded, type DType } from '../../ir/type.ts'
import { issue, type Issue } from '../issue.ts'
import type { Plan } from '../plan/plan.ts'
import { isPacked, packedBytes } from '../tensors/packed.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { roundedBytes } from '../tensors/finite.ts'
import { openHashing } from '../tensors/hashing.ts'
import { byBytes } from '../tensors/layout.ts'
import type { Checkpoint } from '../tensors/reader.ts'
import { sumOf, type Sum } from '../tensors/sums.ts'
import { givenTo } from './given.ts'
import { call, ofBackend } from './problem.ts'
import { keyOf, openBase, sourceOf } from './state.ts'

const narrow: Readonly<Partial<Record<DType, Dtype>>> = { f16: 'F16', bf16: 'BF16' }

/** The stored bytes of a state tensor. Left: finite values that its type cannot hold. */
const holds = (s: State, stored: Uint8Array): E.Either<Issue, Uint8Array> => {
  const { type } = s
  const dtype = narrow[type.dtype]
  if (dtype !== undefined) {
    const hint = 'set compiler.compute_dtype to bfloat16 or float32, which hold such values'
    return roundedBytes({ name: s.name, shape: type.shape }, dtype, stored, hint)
  }
  if (!isEncoded(type.dtype)) return E.right(stored)
  const block = scalesOf(type, stored).findIndex((scale) => !Number.isFinite(scale))
  return block < 0
    ? E.right(stored)
    : E.left(
        issue(`${s.name} holds values too large to be quantized, in block ${block} of its scales`, {
          path: s.name,
          hint: 'leave quantization out, or look at the weights: no trained model has such values',
        }),
      )
}

/** A base that tells the checksum of each tensor it gives. */
const watched = (base: Checkpoint, told: (name: string, sum: Sum) => void): Checkpoint => ({
  ...base,
  read: (name) =>
    pipe(
      base.read(name),
      TE.map((bytes) => {
        told(name, sumOf(bytes))
        return bytes
      }),
    ),
})

/** Tensors of fewer bytes are read at once and their checksum is taken on the way. */
const SMALL = 1 << 22

interface Filling {
  readonly session: Session
  readonly loader: Loader | null
  readonly base: Checkpoint
  /** Asks for the checksum of a tensor that is not read here. */
  readonly sumLater: (name: string) => void
  readonly first: (s: State) => TE.TaskEither<Issue, Uint8Array>
}

/** Whether the backend has made the state itself. */
const loaded = ({ loader, base, sumLater }: Filling, s: State): TE.TaskEither<Issue, boolean> => {
  if (loader === null) return TE.right(false)
  if (s.recipe._tag === 'fill') return call(loader.fill(s.name, s.recipe.value))
  const given = givenTo(s, base)
  if (given === null) return TE.right(false)
  const [{ name, begin, end }, dtype] = given
  const length = end - begin
  const load = (read: Stored<Issue>['read']): TE.TaskEither<Issue, boolean> =>
    pipe(
      loader.load(s.name, { dtype, length, read }),
      TE.mapLeft((e: BackendError | Issue) => ('_tag' in e ? ofBackend(e) : e)),
    )
  if (length > SMALL) {
    sumLater(name)
    return base.open(name, ({ read }) => load(read))
  }
  return pipe(
    base.read(name),
    TE.chain((bytes) =>
      load((into, at) => {
        into.set(bytes.subarray(at, at + into.length))
        return TE.right(undefined)
      }),
    ),
  )
}

/** First values of a base's states: quantized here, or as bitsandbytes has quantized them. */
export const firstOf = (
  base: Checkpoint,
  seed: number,
): ((s: State) => TE.TaskEither<Issue, Uint8Array>) => {
  const source = sourceOf(base)
  return (s) => {
    const { recipe: r, type } = s
    const of = r._tag === 'norms' ? r.of : r
    const key = encodes(of) ? keyOf(of) : null
    if (key === null || !isPacked(base, key)) return materialize(s, source, seed)
    return r._tag === 'norms'
      ? pipe(
          packedBytes(base, key, r.type),
          TE.map((bytes) => rowLengths(dequantize(r.type, bytes), r.type.shape[1]!)),
          TE.map((lengths) => new Uint8Array(lengths.buffer)),
        )
      : packedBytes(base, key, type)
  }
}

const made = (f: Filling, s: State): TE.TaskEither<Issue, void> =>
  pipe(
    f.first(s),
    TE.chainEitherK((stored) => holds(s, stored)),
    TE.chain((stored) => call(f.session.write(s.name, stored))),
  )

const fillAll = (f: Filling, program: Program) => async (): Promise<E.Either<Issue, void>> => {
  // One tensor at a time: a traversal would hold every one until the end.
  for (const s of program.state) {
    const done = await pipe(
      loaded(f, s),
      TE.chain((whole) => (whole ? TE.right(undefined) : made(f, s))),
    )()
    if (E.isLeft(done)) return done
  }
  return E.right(undefined)
}

const withLoader =
  (session: Session) =>
  <A>(use: (loader: Loader | null) => TE.TaskEither<Issue, A>): TE.TaskEither<Issue, A> =>
    session.loader === undefined
      ? use(null)
      : TE.bracket(call(session.loader()), use, (loader) => call(loader.close()))

/**
 * Fills a session from an opened base; gives the SHA-256 of all tensors of the base that the model consists of: the
 * same for every program of the model, and however they are cut into files.
 */
export const initialize =
  (session: Session, program: Program, base: Checkpoint, seed: number) =>
  async (): Promise<E.Either<Issue, Sum>> => {
    const sums = new Map<string, Sum>()
    const hashing = openHashing()
    const later: Array<Promise<E.Either<Issue, void>>> = []
    const told = (name: string, sum: Sum): void => {
      sums.set(name, sum)
    }
    const sumLater = (name: string): void => {
      const asked = pipe(
        hashing.sum(base, name),
        TE.map((sum) => told(name, sum)),
      )
      later.push(asked())
    }
    const read = watched(base, told)
    const first = firstOf(read, seed)
    const filled = await withLoader(session)((loader) =>
      fillAll({ session, loader, base: read, sumLater, first }, program),
    )()
    const summed = await Promise.all(later)
    await hashing.close()
    return pipe(
      [filled, ...summed],
      E.sequenceArray,
      E.map(() => sumOf(JSON.stringify([...sums].toSorted(([a], [b]) => byBytes(a, b))))),
    )
  }

const nothingOf = (folder: string): Checkpoint => {
  const none = <A>(name: string): TE.TaskEither<Issue, A> =>
    TE.left(issue(`${name} is not read`, { file: folder }))
  return { folder, tensors: new Map(), read: none, open: none }
}

/**
 * `initialize` for a session of the plan's program.
 * Left: a base without weights, or weights that do not fit its config.json.
 */
export const initializePlan = (
  { base, program, config }: Pick<Plan, 'base' | 'program' | 'config'>,
  session: Session,
): TE.TaskEither<Issue, Sum> =>
  pipe(
    // Heads over vectors read nothing of the base.
    program.state.every((s) => keyOf(s.recipe) === null)
      ? TE.right(nothingOf(base.folder ?? base.name))
      : openBase(base, program),
    TE.chain((checkpoint) => initialize(session, program, checkpoint, config.random_seed)),
  )
