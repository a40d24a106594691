/** Vectors of rows on disk, by what made them: the file's name says the model, a row's key its tokens. */
import fs from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../issue.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { openFile } from '../tensors/reader.ts'
import { writeFile, type TensorData } from '../tensors/writer.ts'

const KEY = 32

export interface Vectors {
  /** By the key of its tokens, in hexadecimal. */
  readonly of: ReadonlyMap<string, Float32Array>
  /** Seconds that a row took when it was encoded, on average. */
  readonly secondsPerRow: number
}

export const noVectors: Vectors = { of: new Map(), secondsPerRow: 0 }

const decoded = (keys: Uint8Array, values: Uint8Array, seconds: Uint8Array): Vectors => {
  const count = keys.length / KEY
  const width = values.length / 4 / Math.max(1, count)
  const numbers = new Float32Array(values.slice().buffer)
  return {
    secondsPerRow: new Float64Array(seconds.slice().buffer)[0] ?? 0,
    of: new Map(
      Array.from({ length: count }, (_, i) => [
        Buffer.from(keys.subarray(i * KEY, (i + 1) * KEY)).toString('hex'),
        numbers.subarray(i * width, (i + 1) * width),
      ]),
    ),
  }
}

/** What a file holds; nothing where there is none, or none that can be read: it is made anew. */
export const readVectors = (file: string): TE.TaskEither<Issue, Vectors> =>
  pipe(
    attempt('look for the vectors', file, () => ifExists(() => fs.stat(file))),
    TE.chain((found) =>
      found === undefined
        ? TE.right(noVectors)
        : pipe(
            openFile(file),
            TE.chain((f) =>
              pipe(
                ['keys', 'vectors', 'seconds'],
                TE.traverseSeqArray((name) => f.read(name)),
                TE.map(([keys, values, seconds]) => decoded(keys!, values!, seconds!)),
              ),
            ),
            TE.orElse(() => TE.right<Issue, Vectors>(noVectors)),
          ),
    ),
  )

const bytesOf = (x: Float32Array | Float64Array): Uint8Array =>
  new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

/** Replaces the file, whole or not at all. */
export const writeVectors = (
  file: string,
  { of, secondsPerRow }: Vectors,
): TE.TaskEither<Issue, void> => {
  const entries = [...of]
  const width = entries[0]?.[1].length ?? 0
  const keys = Buffer.concat(entries.map(([key]) => Buffer.from(key, 'hex')))
  const vectors = new Float32Array(entries.length * width)
  entries.forEach(([, v], i) => vectors.set(v, i * width))
  const tensors: ReadonlyArray<TensorData> = [
    { name: 'keys', dtype: 'U8', shape: [entries.length, KEY], data: keys },
    { name: 'vectors', dtype: 'F32', shape: [entries.length, width], data: bytesOf(vectors) },
    { name: 'seconds', dtype: 'F64', shape: [1], data: bytesOf(Float64Array.of(secondsPerRow)) },
  ]
  return pipe(
    attempt('make the folder', path.dirname(file), () =>
      fs.mkdir(path.dirname(file), { recursive: true }),
    ),
    TE.chain(() => writeFile(file, tensors)),
    TE.map(() => undefined),
  )
}
