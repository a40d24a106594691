/** A look into a model's weights before they are opened: where one tensor lies, from the headers alone. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as O from 'fp-ts/lib/Option.js'
import { pipe } from 'fp-ts/lib/function.js'
import {
  headerEnd,
  lengthBytes,
  parseHeader,
  type Header,
  type HeaderTensor,
} from '../tensors/header.ts'
import { indexName, parseIndex, weightsName } from '../tensors/shards.ts'

export interface Place extends HeaderTensor {
  readonly file: string
}

export const withFile = <A>(file: string, use: (fd: number) => A): A => {
  const fd = fs.openSync(file, 'r')
  try {
    return use(fd)
  } finally {
    fs.closeSync(fd)
  }
}

export const bytesAt = (fd: number, begin: number, end: number): Buffer => {
  const bytes = Buffer.alloc(end - begin)
  fs.readSync(fd, bytes, 0, bytes.length, begin)
  return bytes
}

/** The file of a folder that holds a tensor; one file is preferred to shards, as when weights are loaded. */
const fileOf = (folder: string, tensor: string): O.Option<string> => {
  const single = path.join(folder, weightsName)
  const index = path.join(folder, indexName)
  if (fs.existsSync(single)) return O.some(single)
  if (!fs.existsSync(index)) return O.none
  return pipe(
    parseIndex(fs.readFileSync(index, 'utf8')),
    O.fromEither,
    O.chainNullableK((map) => map.get(tensor)),
    O.map((shard) => path.join(folder, shard)),
  )
}

const headerOf = (file: string): E.Either<unknown, Header> => {
  const { size } = fs.statSync(file)
  return withFile(file, (fd) =>
    pipe(
      headerEnd(bytesAt(fd, 0, Math.min(size, lengthBytes)), size),
      E.chain((end) => parseHeader(bytesAt(fd, 0, end), size)),
    ),
  )
}

/** The names of all tensors of a folder: of the index where there is one, else of the one file. */
export const namesIn = (folder: string): ReadonlySet<string> => {
  const [single, index] = [weightsName, indexName].map((f) => path.join(folder, f)) as [
    string,
    string,
  ]
  const names = fs.existsSync(single)
    ? pipe(
        headerOf(single),
        E.map((h) => h.tensors.map((t) => t.name)),
      )
    : pipe(
        parseIndex(fs.readFileSync(index, 'utf8')),
        E.map((map) => [...map.keys()]),
      )
  return new Set(E.isRight(names) ? names.right : [])
}

/** Where a tensor lies; none too where the folder has no weights. Throws what the system throws. */
export const placeOf = (folder: string, tensor: string): O.Option<Place> =>
  pipe(
    fileOf(folder, tensor),
    // The open of a named pipe would wait for ever.
    O.filter((file) => fs.statSync(file).isFile()),
    O.chain((file) =>
      pipe(
        headerOf(file),
        O.fromEither,
        O.chainNullableK((header) => header.tensors.find((t) => t.name === tensor)),
        O.map((t) => ({ ...t, file })),
      ),
    ),
  )

/** Files that are not there or cannot be read say nothing: whoever loads them says what is wrong with them. */
export const peeked = <A>(look: () => A, otherwise: A): A =>
  pipe(
    E.tryCatch(look, () => otherwise),
    E.toUnion,
  )
