/** Weights of 8-bit integers as bitsandbytes saves them: codes, `SCB` (a scale a row) and `weight_format`, moved as they are. */
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bytes, parts, rowsOf, show, type TensorType } from '../../ir/type.ts'
import { issue, type Issue } from '../issue.ts'
import { finiteBytes } from './finite.ts'
import type { Checkpoint, TensorEntry } from './reader.ts'

/** The scales of a weight. */
export const scalesName = (key: string): string => key.replace(/\.weight$/, '.SCB')
const formatName = (key: string): string => `${key}_format`

export const isEight = (base: Checkpoint, key: string): boolean =>
  scalesName(key) !== key &&
  (base.tensors.has(scalesName(key)) || base.tensors.get(key)?.dtype === 'I8')

/** All tensors that make up one weight. */
export const namesOf = (key: string): ReadonlyArray<string> => [
  key,
  scalesName(key),
  formatName(key),
]

const entryOf = (
  base: Checkpoint,
  name: string,
  dtype: string,
  shape: ReadonlyArray<number>,
  of: TensorType,
): E.Either<Issue, TensorEntry> => {
  const entry = base.tensors.get(name)
  const expected = `${dtype} [${shape.join(', ')}], for ${show(of)}`
  if (entry === undefined)
    return E.left(
      issue(`a quantized weight has no ${name}`, {
        file: base.folder,
        path: name,
        expected,
        hint: 'the download or export did not finish: do it again',
      }),
    )
  return entry.dtype === dtype && entry.shape.join() === shape.join()
    ? E.right(entry)
    : E.left(
        issue(`${name} is ${entry.dtype} [${entry.shape.join(', ')}]`, {
          file: entry.file,
          path: name,
          expected,
          hint: 'config.json and weights belong to different models',
        }),
      )
}

const entriesOf = (base: Checkpoint, key: string, type: TensorType) =>
  pipe(
    E.Do,
    E.bind('codes', () => entryOf(base, key, 'I8', type.shape, type)),
    E.bind('scales', () => entryOf(base, scalesName(key), 'F32', [rowsOf(type).rows], type)),
  )

/** Whether the headers promise the weight; nothing else is read. */
export const promises = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): E.Either<Issue, unknown> => entriesOf(base, key, type)

/** Old versions of bitsandbytes wrote the order of their own kernels; 0 means rows. */
const inRows = (base: Checkpoint, key: string): TE.TaskEither<Issue, void> => {
  const name = formatName(key)
  const entry = base.tensors.get(name)
  return entry === undefined
    ? TE.right(undefined)
    : pipe(
        base.read(name),
        TE.chain((stored) =>
          stored.every((b) => b === 0)
            ? TE.right(undefined)
            : TE.left(
                issue(`${key} does not lie in rows: ${name} is ${stored.join(', ')}`, {
                  file: entry.file,
                  path: name,
                  expected: '0',
                  hint: 'name the folder of the original 16-bit model; it is quantized while it is read',
                }),
              ),
        ),
      )
}

/** A packed weight in the layout of `int8`, bit for bit. */
export const packedBytes = (
  base: Checkpoint,
  key: string,
  type: TensorType,
): TE.TaskEither<Issue, Uint8Array> =>
  pipe(
    TE.fromEither(entriesOf(base, key, type)),
    TE.chainFirst(() => inRows(base, key)),
    TE.bind('c', () => base.read(key)),
    TE.bind('s', ({ scales }) =>
      pipe(
        base.read(scales.name),
        TE.chainEitherK((stored) => finiteBytes(scales, 'F32', stored)),
      ),
    ),
    TE.map(({ c, s }) => {
      const out = new Uint8Array(bytes(type))
      const [codes, scales] = parts(type)
      out.set(c, codes!.at)
      out.set(s, scales!.at)
      return out
    }),
  )
