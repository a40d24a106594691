/** Embeddings kept beside the data, under a name made of all that they depend on: weights, tokenizer, precision and texts. */
import { createHash } from 'node:crypto'
import fs from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { folderFingerprints } from '../plan/fingerprint.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import type { Encoder } from './encoder.ts'
import type { Embeddings } from './neighbours.ts'

/** Raised when embeddings are made otherwise. */
const VERSION = 1

const PIECE = 1 << 23

const hashOfFile = (file: string): string => {
  const hash = createHash('sha256')
  const piece = Buffer.alloc(PIECE)
  const opened = fs.openSync(file, 'r')
  for (let n = -1; n !== 0;) {
    n = fs.readSync(opened, piece)
    hash.update(piece.subarray(0, n))
  }
  fs.closeSync(opened)
  return hash.digest('hex')
}

/** What a model folder holds, weights by their bytes. A folder whose files have the sizes and times they had is not read again. */
const seen = new Map<string, string>()
const contentsOf = (folder: string): E.Either<Issue, string> =>
  pipe(
    folderFingerprints(folder),
    E.map((files) =>
      JSON.stringify(
        files.map(({ name, bytes, sha256 }) => {
          if (sha256 !== null) return [name, sha256]
          const file = path.join(folder, name)
          const key = JSON.stringify([file, bytes, fs.statSync(file).mtimeMs])
          const known = seen.get(key) ?? hashOfFile(file)
          seen.set(key, known)
          return [name, known]
        }),
      ),
    ),
  )

/** The file of the embeddings of these texts by this encoder, beside the data that they come from. */
export const fileOf = (
  e: Encoder,
  texts: ReadonlyArray<string>,
  data: string,
): E.Either<Issue, string> =>
  pipe(
    contentsOf(e.folder),
    E.map((model) => {
      const { quantize, compute } = e.techniques
      const key = JSON.stringify([VERSION, model, e.base.spec, quantize, compute, texts])
      const name = createHash('sha256').update(key).digest('hex').slice(0, 32)
      return path.join(path.dirname(path.resolve(data)), '.tunec', `${name}.embeddings`)
    }),
  )

/** Null: there is none, or it is not whole. */
export const readEmbeddings = (file: string, rows: number, size: number): Embeddings | null => {
  if (!fs.existsSync(file)) return null
  const bytes = fs.readFileSync(file)
  if (bytes.length !== rows * size * 4) return null
  return { size, values: new Float32Array(new Uint8Array(bytes).buffer) }
}

export const writeEmbeddings = (
  file: string,
  { values }: Embeddings,
): TE.TaskEither<Issue, void> => {
  const folder = path.dirname(file)
  const { buffer, byteOffset, byteLength } = values
  return pipe(
    attempt('make the folder', folder, () => mkdir(folder, { recursive: true })),
    TE.chain(() => atomicWrite(file, new Uint8Array(buffer, byteOffset, byteLength))),
  )
}

/** What a plan says that needs embeddings nobody has made. */
export const unmade = (data: string): Issue =>
  issue('the embeddings that prompt.retrieval compares have not been made yet', {
    file: data,
    path: 'prompt.retrieval',
    hint: 'any command that reads the config makes them, as `tunec check CONFIG` does',
  })
