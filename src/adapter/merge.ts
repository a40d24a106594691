/** An adapter added into its base: W + s·B·A, modules trained in full in place of its own; computed in f32 and rounded once to the base's dtype. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { added } from '../../ir/factors.ts'
import { rowLengths } from '../../ir/initial.ts'
import { issue, type Issue } from '../issue.ts'
import { atomicFolder } from '../tensors/atomic.ts'
import { fromF32, toF32, type FloatDtype } from '../tensors/convert.ts'
import type { Dtype } from '../tensors/dtype.ts'
import { finiteBytes, finiteValues, roundedBytes } from '../tensors/finite.ts'
import {
  openFolder,
  type Checkpoint,
  type TensorEntry,
  type TensorFile,
} from '../tensors/reader.ts'
import { writeSumsOf } from '../tensors/sums.ts'
import { writeFolder, type TensorData } from '../tensors/writer.ts'
import { asTheBase, type Carried } from './carried.ts'
import { copyModelFiles } from './files.ts'
import { changesOf, ownHead, separates, type Change } from './changes.ts'
import { openAdapter, type Opened } from './import.ts'
import { EMBEDDING } from '../models/head.ts'

/** Shards as transformers cuts them. */
export const SHARD_BYTES = 5e9

/** What a sum is written in: the dtype of its weight, and F32 for F64, which training reads so too. Null: no float. */
const writtenAs = (d: Dtype): FloatDtype | null =>
  d === 'F64' ? 'F32' : d === 'F32' || d === 'F16' || d === 'BF16' ? d : null

/** Rows, or columns, of a matrix times a number each. */
const multiplied = (w: Float32Array, l: Float32Array, columns: boolean): Float32Array => {
  const width = w.length / l.length
  return w.map((x, i) => x * l[columns ? i % l.length : Math.floor(i / width)]!)
}

/** Rows given other lengths. */
const lengthened = (w: Float32Array, lengths: Float32Array): Float32Array => {
  const columns = w.length / lengths.length
  const now = rowLengths(w, columns)
  return w.map((x, i) => {
    const row = Math.floor(i / columns)
    return (x * lengths[row]!) / now[row]!
  })
}

const values = (
  read: (name: string) => TE.TaskEither<Issue, Uint8Array>,
  entry: TensorEntry,
): TE.TaskEither<Issue, Float32Array> =>
  pipe(
    read(entry.name),
    TE.chainEitherK((bytes) => toF32(entry.dtype, bytes)),
    TE.chainEitherK((read) => finiteValues(entry, read)),
    TE.mapLeft((i): Issue => ({ file: entry.file, path: entry.name, ...i })),
  )

/** A tensor that nothing is merged into. */
const unchanged = (base: Checkpoint, entry: TensorEntry): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    // A head that was one with the embedding is that.
    base.read(base.tensors.has(entry.name) ? entry.name : EMBEDDING),
    TE.chainEitherK((bytes) => finiteBytes(entry, entry.dtype, bytes)),
  )

/** Left: the merged weights overflow the base's dtype. */
const rounded = (entry: TensorEntry, dtype: FloatDtype, sum: Float32Array) => {
  const hint =
    'the adapter is too strong for the dtype of its base: use it unmerged, or merge into a base saved as bfloat16 or float32'
  return pipe(
    roundedBytes({ name: entry.name, shape: entry.shape }, dtype, fromF32(dtype, sum), hint),
    E.mapLeft((i): Issue => ({ ...i, message: `the merged ${i.message}` })),
  )
}

const sumOf = (
  base: Checkpoint,
  entry: TensorEntry,
  adapter: TensorFile,
  change: Change,
): TE.TaskEither<Issue, Float32Array> =>
  change._tag === 'whole'
    ? values(adapter.read, change.by)
    : change._tag === 'times'
      ? pipe(
          TE.Do,
          TE.bind('w', () => values(base.read, entry)),
          TE.bind('l', () => values(adapter.read, change.by)),
          TE.map(({ w, l }) => multiplied(w, l, change.columns)),
        )
      : pipe(
          TE.Do,
          TE.bind('w', () => values(base.read, entry)),
          TE.bind('A', () => values(adapter.read, change.a)),
          TE.bind('B', () => values(adapter.read, change.b)),
          TE.bind('lengths', () =>
            change.lengths === null ? TE.right(null) : values(adapter.read, change.lengths),
          ),
          TE.map(({ w, A, B, lengths }) => {
            const sum = added(w, { a: A, b: B }, change.a.shape[0]!, change.scale)
            return lengths === null ? sum : lengthened(sum, lengths)
          }),
        )

/** Left: a weight of integers, or one that overflows its dtype. */
const changedTensor = (
  base: Checkpoint,
  entry: TensorEntry,
  adapter: TensorFile,
  change: Change,
): E.Either<Issue, TensorData> => {
  const { name, shape } = entry
  const dtype = writtenAs(entry.dtype)
  return dtype === null
    ? E.left(
        issue(`${name} is ${entry.dtype}, into which nothing can be merged`, {
          file: entry.file,
          path: name,
          expected: 'F64, F32, F16 or BF16',
        }),
      )
    : E.right({
        name,
        dtype,
        shape,
        data: () =>
          pipe(
            sumOf(base, entry, adapter, change),
            TE.chainEitherK((sum) => rounded(entry, dtype, sum)),
          ),
      })
}

/** Every tensor of the merged model; those without an adapter byte for byte. */
const mergedTensors = (
  base: Checkpoint,
  { file, lora }: Opened,
): E.Either<Issue, ReadonlyArray<TensorData>> =>
  pipe(
    changesOf(base, file, lora),
    E.chain((changes) =>
      pipe(
        [...base.tensors.values(), ...ownHead(base, lora)],
        E.traverseArray((entry): E.Either<Issue, TensorData> => {
          const { name, dtype, shape } = entry
          const change = changes.get(name)
          return change === undefined
            ? E.right({ name, dtype, shape, data: () => unchanged(base, entry) })
            : changedTensor(base, entry, file, change)
        }),
      ),
    ),
  )

/** Writes base plus adapter as a model folder of the base's dtype. `carried`: what the run decided beyond its files. */
export const mergeAdapter = (
  baseFolder: string,
  adapterFolder: string,
  folder: string,
  carried: Carried = asTheBase,
): TE.TaskEither<Issue, void> =>
  pipe(
    TE.Do,
    TE.bind('base', () => openFolder(baseFolder)),
    TE.bind('adapter', () => openAdapter(adapterFolder)),
    TE.bind('tensors', ({ base, adapter }) => TE.fromEither(mergedTensors(base, adapter))),
    TE.let('says', ({ adapter }) =>
      separates(adapter.lora) ? { ...carried, tied: false } : carried,
    ),
    TE.chain(({ base, tensors, says }) =>
      atomicFolder(folder, (temporary) =>
        pipe(
          writeFolder(temporary, tensors, { maxShardBytes: SHARD_BYTES }),
          TE.chainFirst(() => copyModelFiles(base, temporary, says)),
          TE.chain((sums) => writeSumsOf(temporary, sums)),
        ),
      ),
    ),
  )
