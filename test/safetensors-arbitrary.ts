/** Generators and helpers of the safetensors tests. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import type { TaskEither } from 'fp-ts/lib/TaskEither.js'
import type { Issue } from '../src/issue.ts'
import type { Dtype } from '../src/tensors/dtype.ts'
import { bitsOf } from './safetensors-oracle.ts'

export interface AnyTensor {
  readonly name: string
  readonly dtype: Dtype
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

const anyName = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 12 }).filter((name) => name !== '__metadata__'),
  fc.constantFrom(
    '',
    '__proto__',
    'constructor',
    '7',
    '0',
    'a.b',
    'größe',
    '日本',
    '\u{1f600}',
    '\uffff',
  ),
)

/** A tensor of any dtype, of rank 0 to 3, often empty. */
export const anyTensor: fc.Arbitrary<AnyTensor> = fc
  .record({
    name: anyName,
    dtype: fc.constantFrom(...(Object.keys(bitsOf) as ReadonlyArray<Dtype>)),
    sizes: fc.array(fc.nat(4), { maxLength: 3 }),
    seed: fc.nat(255),
  })
  .map(({ name, dtype, sizes, seed }) => {
    const bits = bitsOf[dtype] ?? 0
    // Four elements of 4 or 6 bits fill whole bytes.
    const shape = bits < 8 ? [4, ...sizes] : sizes
    const bytes = (shape.reduce((a, b) => a * b, 1) * bits) / 8
    return { name, dtype, shape, data: Uint8Array.from({ length: bytes }, (_, i) => seed + 7 * i) }
  })

export const anyTensors: fc.Arbitrary<ReadonlyArray<AnyTensor>> = fc.uniqueArray(anyTensor, {
  selector: ({ name }) => name,
  maxLength: 8,
})

/** Runs `use` with an empty folder that is removed afterwards. */
export const inFolder = async <A>(use: (folder: string) => Promise<A>): Promise<A> => {
  const folder = await mkdtemp(join(tmpdir(), 'safetensors-'))
  try {
    return await use(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

export const right = async <A>(task: TaskEither<Issue, A>): Promise<A> => {
  const result = await task()
  return E.isRight(result) ? result.right : assert.fail(JSON.stringify(result.left))
}

export const left = async <A>(task: TaskEither<Issue, A>): Promise<Issue> => {
  const result = await task()
  return E.isLeft(result) ? result.left : assert.fail('no issue came')
}

/** A file of this header, given as JSON text or a value, and these bytes after it. */
export const fileOf = (header: unknown, data: Uint8Array = new Uint8Array()): Uint8Array => {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return new Uint8Array(Buffer.concat([length, text, data]))
}
