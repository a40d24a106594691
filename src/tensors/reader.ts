/** A model's weights in a folder: one `model.safetensors`, or shards listed by an index. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { type Issue, issue } from '../issue.ts'
import { openFile, type TensorEntry, type TensorFile } from './file.ts'
import { attempt } from './os.ts'
import { recogniseFolder } from './recognise.ts'
import { agree, indexName, listed, parseIndex, weightsName } from './shards.ts'

export { openFile, type OpenTensor, type TensorEntry, type TensorFile } from './file.ts'

export interface Checkpoint {
  readonly folder: string
  readonly tensors: ReadonlyMap<string, TensorEntry>
  /** The bytes of one tensor, little-endian and row-major, in an array of their own. */
  readonly read: (name: string) => TE.TaskEither<Issue, Uint8Array>
  readonly open: TensorFile['open']
}

const checkpoint = (
  folder: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  files: ReadonlyArray<TensorFile>,
): Checkpoint => {
  const byPath = new Map(files.map((file) => [file.path, file]))
  const holding = <Err, A>(
    name: string,
    use: (file: TensorFile) => TE.TaskEither<Err | Issue, A>,
  ): TE.TaskEither<Err | Issue, A> => {
    const file = byPath.get(tensors.get(name)?.file ?? '')
    return file
      ? use(file)
      : TE.left(
          issue('the tensor is not in the checkpoint', {
            file: folder,
            path: name,
            hint: 'check that the config belongs to this model',
          }),
        )
  }
  return {
    folder,
    tensors,
    read: (name) => holding(name, (file) => file.read(name)),
    open: (name, use) => holding(name, (file) => file.open(name, use)),
  }
}

const openSingle = (folder: string): TE.TaskEither<Issue, Checkpoint> =>
  pipe(
    openFile(join(folder, weightsName)),
    TE.map((file) => checkpoint(folder, file.tensors, [file])),
  )

const openSharded = (
  folder: string,
  names: ReadonlySet<string>,
): TE.TaskEither<Issue, Checkpoint> => {
  const index = join(folder, indexName)
  return pipe(
    attempt('read the index', index, () => fs.readFile(index, 'utf8')),
    TE.chainEitherK(parseIndex),
    TE.mapLeft((i) => ({ ...i, file: index })),
    TE.chain((map) => {
      const shards = [...new Set(map.values())].toSorted()
      const missing = shards.filter((shard) => !names.has(shard))
      if (missing.length > 0)
        return TE.left(
          issue(`${missing.length} of ${shards.length} shards are missing: ${listed(missing)}`, {
            file: index,
            hint: 'download them: the model is not complete',
          }),
        )
      return pipe(
        shards,
        TE.traverseSeqArray((shard) => openFile(join(folder, shard))),
        TE.chainEitherK((files) =>
          pipe(
            agree(index, map, new Map(files.map((file, i) => [shards[i] ?? '', file]))),
            E.map((tensors) => checkpoint(folder, tensors, files)),
          ),
        ),
      )
    }),
  )
}

/**
 * Opens the weights of a model folder and checks every header; like transformers, it prefers the single file.
 * Left: the first thing wrong, or what the folder holds instead.
 */
export const openFolder = (folder: string): TE.TaskEither<Issue, Checkpoint> =>
  pipe(
    attempt('read the folder', folder, () => fs.readdir(folder)),
    TE.chain((names) => {
      if (names.includes(weightsName)) return openSingle(folder)
      if (names.includes(indexName)) return openSharded(folder, new Set(names))
      return TE.left(recogniseFolder(folder, names))
    }),
  )
