/** Writes safetensors files and sharded folders; the same tensors always give the same bytes. */
import { createHash } from 'node:crypto'
import fs, { type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import { atomicFile, atomicWrite } from './atomic.ts'
import {
  layOut,
  type Layout,
  measure,
  type Metadata,
  type Sized,
  type TensorInfo,
} from './layout.ts'
import { afterwards, attempt, writeAll } from './os.ts'
import { indexName, indexText, pack, shardName } from './shards.ts'
import { sumOf, type Sum, type Sums } from './sums.ts'

/** Little-endian, row-major bytes, or a thunk that is called once, when their turn comes. */
export type TensorBytes = Uint8Array | (() => TE.TaskEither<Issue, Uint8Array>)

export interface TensorData extends TensorInfo {
  readonly data: TensorBytes
}

/** Old versions of transformers refuse files without it. */
const torchFormat: Metadata = { format: 'pt' }

const bytesOf = ({ name, data, bytes }: Sized<TensorData>): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    typeof data === 'function' ? data() : TE.right(data),
    TE.filterOrElse(
      (given) => given.length === bytes,
      (given) =>
        issue(`the tensor has ${given.length} bytes of data`, {
          path: name,
          expected: `${bytes} bytes, as its dtype and shape say`,
        }),
    ),
  )

/** Gives the checksum of what was meant to be written: a disk that wrote something else is found out by it. */
const writeBody =
  (path: string, { header, tensors }: Layout<TensorData>) =>
  (file: FileHandle): TE.TaskEither<Issue, Sum> => {
    const hash = createHash('sha256')
    const write = (bytes: Uint8Array): TE.TaskEither<Issue, void> => {
      hash.update(bytes)
      return attempt('write the file', path, () => writeAll(file, bytes))
    }
    return pipe(
      write(header),
      TE.chain(() => async () => {
        // One tensor at a time: a traversal would hold every result until the end.
        for (const tensor of tensors) {
          const written = await pipe(bytesOf(tensor), TE.chain(write))()
          if (E.isLeft(written)) return written
        }
        return E.right(hash.digest('hex'))
      }),
    )
  }

const inFile =
  (path: string) =>
  (i: Issue): Issue => ({ file: path, ...i })

const writeSized = (
  path: string,
  tensors: ReadonlyArray<Sized<TensorData>>,
  metadata: Metadata,
): TE.TaskEither<Issue, Sum> =>
  pipe(
    TE.fromEither(layOut(tensors, metadata)),
    TE.chain((layout) => atomicFile(path, writeBody(path, layout))),
    TE.mapLeft(inFile(path)),
  )

/**
 * Writes one file, which appears whole or not at all, and gives its checksum. Left: a tensor that no file can
 * hold, data of the wrong length, the thunk's own issue, or an error of the system.
 */
export const writeFile = (
  path: string,
  tensors: ReadonlyArray<TensorData>,
  metadata: Metadata = torchFormat,
): TE.TaskEither<Issue, Sum> =>
  pipe(
    TE.fromEither(measure(tensors)),
    TE.mapLeft(inFile(path)),
    TE.chain((sized) => writeSized(path, sized, metadata)),
  )

type Shard = ReadonlyArray<Sized<TensorData>>

const weightFile = /^model(-\d+-of-\d+)?\.safetensors(\.index\.json)?$/

/** Old shards beside new ones would make a mixed model. */
const prepare = (folder: string): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('make the folder', folder, () => fs.mkdir(folder, { recursive: true })),
    TE.chain(() => attempt('read the folder', folder, () => fs.readdir(folder))),
    TE.chain((names) => {
      const old = names.find((name) => weightFile.test(name))
      return old === undefined
        ? TE.right(undefined)
        : TE.left(
            issue(`the folder already holds weights (\`${old}\`)`, {
              file: folder,
              hint: 'remove them, or choose another folder',
            }),
          )
    }),
  )

/** Shards first and the index last, so that a folder with an index is complete. */
const writeShards = (folder: string, shards: ReadonlyArray<Shard>): TE.TaskEither<Issue, Sums> =>
  pipe(
    shards,
    TE.traverseSeqArrayWithIndex((i, shard) => {
      const name = shardName(i, shards.length)
      return pipe(
        writeSized(join(folder, name), shard, torchFormat),
        TE.map((sum) => [name, sum] as const),
      )
    }),
    TE.chain((sums) => {
      if (shards.length === 1) return TE.right(new Map(sums))
      const index = Buffer.from(indexText(shards))
      return pipe(
        atomicWrite(join(folder, indexName), index),
        TE.map(() => new Map([...sums, [indexName, sumOf(index)]])),
      )
    }),
  )

const removeShards = (folder: string, count: number): TE.TaskEither<Issue, void> =>
  attempt('remove the unfinished shards', folder, async () => {
    for (let i = 0; i < count; i++) await fs.rm(join(folder, shardName(i, count)), { force: true })
  })

/**
 * Writes a model as transformers does: `model.safetensors`, or shards of at most `maxShardBytes` of data
 * (more for a tensor that is larger) with their index; gives the checksum of every file. The folder is made, and
 * may hold no weights yet; after a Left it holds none.
 */
export const writeFolder = (
  folder: string,
  tensors: ReadonlyArray<TensorData>,
  { maxShardBytes }: { readonly maxShardBytes: number },
): TE.TaskEither<Issue, Sums> =>
  pipe(
    TE.fromEither(measure(tensors)),
    TE.mapLeft(inFile(folder)),
    TE.chainFirst(() => prepare(folder)),
    TE.chain((sized) => {
      const shards = pack(sized, maxShardBytes)
      return pipe(writeShards(folder, shards), afterwards(removeShards(folder, shards.length)))
    }),
  )
