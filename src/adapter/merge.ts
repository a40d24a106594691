/** An adapter added into its base: W + (alpha / r)·B·A, computed in f32 and rounded once to the base's dtype. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
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
import { openAdapter, peftName } from './peft.ts'

/** Shards as transformers cuts them. */
export const SHARD_BYTES = 5e9

/** What a sum is written in: the dtype of its weight, and F32 for F64, which training reads so too. Null: no float. */
const writtenAs = (d: Dtype): FloatDtype | null =>
  d === 'F64' ? 'F32' : d === 'F32' || d === 'F16' || d === 'BF16' ? d : null

/** W + s·B·A for W [out, in], A [r, in], B [out, r], all row-major; sums in double precision. */
export const added = (
  w: Float32Array,
  a: Float32Array,
  b: Float32Array,
  r: number,
  scale: number,
): Float32Array => {
  const into = a.length / r
  const row = new Float64Array(into)
  return w.map((x, i) => {
    const [o, c] = [Math.floor(i / into), i % into]
    if (c === 0) {
      row.fill(0)
      for (let k = 0; k < r; k++)
        for (let j = 0; j < into; j++) row[j]! += b[o * r + k]! * a[k * into + j]!
    }
    return x + scale * row[c]!
  })
}

interface Pair {
  readonly a: TensorEntry
  readonly b: TensorEntry
}

const namesOf = (weight: string): readonly [string, string] => {
  const module = peftName(weight.replace(/\.weight$/, ''))
  return [`${module}.lora_A.weight`, `${module}.lora_B.weight`]
}

/** The adapter's matrices of each weight they belong to. Left: matrices that fit none. */
const pairsOf = (
  base: Checkpoint,
  adapter: TensorFile,
): E.Either<Issue, ReadonlyMap<string, Pair>> => {
  const pairs = new Map<string, Pair>()
  const used = new Set<string>()
  for (const [name, w] of base.tensors) {
    const [a, b] = namesOf(name).map((n) => adapter.tensors.get(n))
    if (a === undefined || b === undefined) continue
    const [out, into, r] = [w.shape[0], w.shape[1], a.shape[0]]
    if (
      w.shape.length !== 2 ||
      a.shape.join() !== `${r},${into}` ||
      b.shape.join() !== `${out},${r}`
    )
      return E.left(
        issue(
          `the adapter's [${b.shape.join(', ')}]·[${a.shape.join(', ')}] does not fit ${name} [${w.shape.join(', ')}]`,
          { file: adapter.path, path: name, hint: 'it was trained on another base model' },
        ),
      )
    pairs.set(name, { a, b })
    used.add(a.name).add(b.name)
  }
  const idle = [...adapter.tensors.keys()].find((n) => !used.has(n))
  return idle === undefined
    ? E.right(pairs)
    : E.left(
        issue(`the base model has no weight for ${idle}`, {
          file: adapter.path,
          path: idle,
          hint: 'the adapter was trained on another base model',
        }),
      )
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
    base.read(entry.name),
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

const mergedBytes = (
  base: Checkpoint,
  entry: TensorEntry,
  dtype: FloatDtype,
  adapter: TensorFile,
  { a, b }: Pair,
  alpha: number,
): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    TE.Do,
    TE.bind('w', () => values(base.read, entry)),
    TE.bind('A', () => values(adapter.read, a)),
    TE.bind('B', () => values(adapter.read, b)),
    TE.map(({ w, A, B }) => added(w, A, B, a.shape[0]!, alpha / a.shape[0]!)),
    TE.chainEitherK((sum) => rounded(entry, dtype, sum)),
  )

/** Every tensor of the merged model; those without an adapter byte for byte. */
const mergedTensors = (
  base: Checkpoint,
  adapter: TensorFile,
  pairs: ReadonlyMap<string, Pair>,
  alpha: number,
): E.Either<Issue, ReadonlyArray<TensorData>> =>
  pipe(
    [...base.tensors.values()],
    E.traverseArray((entry): E.Either<Issue, TensorData> => {
      const { name, dtype, shape } = entry
      const pair = pairs.get(name)
      if (pair === undefined)
        return E.right({ name, dtype, shape, data: () => unchanged(base, entry) })
      const written = writtenAs(dtype)
      return written !== null
        ? E.right({
            name,
            dtype: written,
            shape,
            data: () => mergedBytes(base, entry, written, adapter, pair, alpha),
          })
        : E.left(
            issue(`${name} is ${dtype}, into which nothing can be merged`, {
              file: entry.file,
              path: name,
              expected: 'F64, F32, F16 or BF16',
            }),
          )
    }),
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
    TE.bind('pairs', ({ base, adapter }) => TE.fromEither(pairsOf(base, adapter.file))),
    TE.bind('tensors', ({ base, adapter, pairs }) =>
      TE.fromEither(mergedTensors(base, adapter.file, pairs, adapter.config.alpha)),
    ),
    TE.chain(({ base, tensors }) =>
      atomicFolder(folder, (temporary) =>
        pipe(
          writeFolder(temporary, tensors, { maxShardBytes: SHARD_BYTES }),
          TE.chainFirst(() => copyModelFiles(base, temporary, carried)),
          TE.chain((sums) => writeSumsOf(temporary, sums)),
        ),
      ),
    ),
  )
