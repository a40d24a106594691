/** Collected values as files that others read: safetensors, NumPy's npy, Parquet. */
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import type { Column } from '../predict/column.ts'
import { parquet } from '../predict/parquet.ts'
import { atomicWrite } from '../tensors/atomic.ts'
import { attempt } from '../tensors/os.ts'
import { writeFile, type TensorData } from '../tensors/writer.ts'
import type { Activation, Collected } from './collect.ts'
import type { Pool } from './pools.ts'

const bytesOf = (x: Float32Array | Int32Array): Uint8Array =>
  new Uint8Array(x.buffer, x.byteOffset, x.byteLength)

const rowsOf = ({ values, width }: Activation): number => values.length / width

/** `rows`: which row of the data each text is; `lengths`: its tokens, which with `none` follow one another. */
const safetensors = (file: string, c: Collected): TE.TaskEither<Issue, void> => {
  const ints = (name: string, xs: ReadonlyArray<number>): TensorData => ({
    name,
    dtype: 'I32',
    shape: [xs.length],
    data: bytesOf(Int32Array.from(xs)),
  })
  return pipe(
    writeFile(file, [
      ints('rows', c.rows),
      ints('lengths', c.lengths),
      ...c.activations.map((a): TensorData => ({
        name: a.name,
        dtype: 'F32',
        shape: [rowsOf(a), a.width],
        data: bytesOf(a.values),
      })),
    ]),
    TE.map(() => undefined),
  )
}

/** Format 1.0: magic, a header of Python's literals padded to 64 bytes, the values row by row. */
export const npy = (a: Activation): Uint8Array => {
  const said = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rowsOf(a)}, ${a.width}), }`
  const padded = `${said.padEnd(Math.ceil((said.length + 11) / 64) * 64 - 11)}\n`
  const head = Buffer.concat([
    Buffer.from([0x93]),
    Buffer.from('NUMPY'),
    Buffer.from([1, 0]),
    Buffer.from(Uint16Array.of(padded.length).buffer),
    Buffer.from(padded, 'latin1'),
  ])
  return Buffer.concat([head, bytesOf(a.values)])
}

const perRow = (c: Collected, pool: Pool): ReadonlyArray<number> =>
  pool === 'none'
    ? c.rows.flatMap((row, i) => Array.from({ length: c.lengths[i]! }, () => row))
    : c.rows

/** A row for each text, or with `none` for each token; a list of numbers for each name. */
const columns = (c: Collected, pool: Pool): ReadonlyArray<Column> => [
  { name: 'row', kind: 'number', values: perRow(c, pool) },
  ...c.activations.map((a): Column => ({
    name: a.name,
    kind: 'numbers',
    values: Array.from({ length: rowsOf(a) }, (_, i) =>
      Array.from(a.values.subarray(i * a.width, (i + 1) * a.width)),
    ),
  })),
]

const inFolder = (folder: string, c: Collected): TE.TaskEither<Issue, void> =>
  pipe(
    attempt('make the folder', folder, () => mkdir(folder, { recursive: true })),
    TE.chain(() =>
      pipe(
        c.activations,
        TE.traverseSeqArray((a) => atomicWrite(path.join(folder, `${a.name}.npy`), npy(a))),
      ),
    ),
    TE.map(() => undefined),
  )

/** The form follows from the name: `.safetensors`, `.parquet`, `.npy` for one value, else a folder of npy files. */
export const writeCollected = (
  out: string,
  c: Collected,
  pool: Pool,
): TE.TaskEither<Issue, void> => {
  switch (path.extname(out)) {
    case '.safetensors':
      return safetensors(out, c)
    case '.parquet':
      return atomicWrite(out, parquet(columns(c, pool)))
    case '.npy':
      return c.activations.length === 1
        ? atomicWrite(out, npy(c.activations[0]!))
        : TE.left(
            issue(`an npy file holds one value, and ${c.activations.length} are collected`, {
              path: '--output',
              hint: 'name a folder, or a file that ends in .safetensors',
            }),
          )
    case '':
      return inFolder(out, c)
    default:
      return TE.left(
        issue(`nothing is known of files that end in ${path.extname(out)}`, {
          path: '--output',
          expected: '.safetensors, .parquet, .npy, or a folder',
        }),
      )
  }
}
