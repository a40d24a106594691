/** Whether a head that config.json ties to the embedding is one with it in the files: transformers 5 asks them too. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import * as O from 'fp-ts/lib/Option.js'
import { pipe } from 'fp-ts/lib/function.js'
import { headerEnd, lengthBytes, parseHeader, type HeaderTensor } from '../tensors/header.ts'
import { indexName, parseIndex, weightsName } from '../tensors/shards.ts'

export const HEAD = 'lm_head.weight'
export const EMBEDDING = 'model.embed_tokens.weight'

interface Place extends HeaderTensor {
  readonly file: string
}

const MIB = 2 ** 20

const withFile = <A>(file: string, use: (fd: number) => A): A => {
  const fd = fs.openSync(file, 'r')
  try {
    return use(fd)
  } finally {
    fs.closeSync(fd)
  }
}

const bytesAt = (fd: number, begin: number, end: number): Buffer => {
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

const placeOf = (folder: string, tensor: string): O.Option<Place> =>
  pipe(
    fileOf(folder, tensor),
    // The open of a named pipe would wait for ever.
    O.filter((file) => fs.statSync(file).isFile()),
    O.chain((file) => {
      const { size } = fs.statSync(file)
      return pipe(
        withFile(file, (fd) =>
          pipe(
            headerEnd(bytesAt(fd, 0, Math.min(size, lengthBytes)), size),
            E.chain((end) => parseHeader(bytesAt(fd, 0, end), size)),
          ),
        ),
        O.fromEither,
        O.chainNullableK((header) => header.tensors.find((t) => t.name === tensor)),
        O.map((t) => ({ ...t, file })),
      )
    }),
  )

/** Compares piece by piece: a table may hold a gigabyte. */
const sameBytes = (a: Place, b: Place): boolean =>
  a.end - a.begin === b.end - b.begin &&
  withFile(a.file, (fa) =>
    withFile(b.file, (fb) => {
      for (let at = 0; at < a.end - a.begin; at += MIB) {
        const to = Math.min(at + MIB, a.end - a.begin)
        const [x, y] = [
          bytesAt(fa, a.begin + at, a.begin + to),
          bytesAt(fb, b.begin + at, b.begin + to),
        ]
        if (!x.equals(y)) return false
      }
      return true
    }),
  )

const differs = (folder: string): boolean =>
  pipe(
    O.Do,
    O.bind('head', () => placeOf(folder, HEAD)),
    O.bind('embedding', () => placeOf(folder, EMBEDDING)),
    O.exists(
      ({ head, embedding }) =>
        head.dtype !== embedding.dtype ||
        head.shape.join() !== embedding.shape.join() ||
        !sameBytes(head, embedding),
    ),
  )

/**
 * The files hold a head other than the embedding, and both count. Files that are not there or cannot be read say
 * nothing: a plan may be made without weights, and whoever loads them says what is wrong with them.
 */
export const hasOwnHead = (folder: string): boolean =>
  pipe(
    E.tryCatch(
      () => differs(folder),
      () => false,
    ),
    E.toUnion,
  )
