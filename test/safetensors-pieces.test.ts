/** Tensors read piece by piece, and their checksums by threads. */
import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { openHashing } from '../src/tensors/hashing.ts'
import { openFolder, openFile, type OpenTensor } from '../src/tensors/reader.ts'
import { left, right, inFolder } from './safetensors-arbitrary.ts'

/** A file of tensors of a given length each, made by hand: header, then data. */
const fileOf = (tensors: Readonly<Record<string, number>>): Buffer => {
  let at = 0
  const entries = Object.entries(tensors).map(([name, bytes]) => {
    const entry = { dtype: 'BF16', shape: [bytes / 2], data_offsets: [at, at + bytes] }
    at += bytes
    return [name, entry] as const
  })
  const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(json.length))
  return Buffer.concat([length, json])
}

const piece = (n: number, at: number) => (t: OpenTensor) => {
  const into = new Uint8Array(n)
  return TE.map(() => into)(t.read(into, at))
}

test('pieces of any length are those of the tensor, also where several requests read one', async () => {
  await inFolder(async (folder) => {
    const file = path.join(folder, 'model.safetensors')
    const data = randomBytes(20 * 2 ** 20)
    await fs.writeFile(
      file,
      Buffer.concat([fileOf({ a: 2 ** 10, b: data.length }), Buffer.alloc(2 ** 10), data]),
    )
    const base = await right(openFolder(folder))
    for (const [n, at] of [
      [data.length, 0],
      [data.length - 2, 2],
      [9 * 2 ** 20 + 1, 12_345],
      [1, data.length - 1],
      [0, 7],
    ] as const)
      assert.ok(data.subarray(at, at + n).equals(await right(base.open('b', piece(n, at)))))
    assert.match((await left(base.open('c', piece(1, 0)))).message, /not in the checkpoint/)
  })
})

test('a tensor of more than 4 GiB is read at its far end', async () => {
  await inFolder(async (folder) => {
    const file = path.join(folder, 'model.safetensors')
    const bytes = 5 * 2 ** 30
    const header = fileOf({ huge: bytes })
    const handle = await fs.open(file, 'w')
    await handle.write(header)
    // Nothing but the marks takes room on the disk.
    await handle.truncate(header.length + bytes)
    const places = [2 ** 31 - 2, 2 ** 32 - 2, bytes - 4]
    for (const [i, at] of places.entries())
      await handle.write(Buffer.from([i + 1, 2, 3, 4]), 0, 4, header.length + at)
    await handle.close()
    const opened = await right(openFile(file))
    for (const [i, at] of places.entries())
      assert.deepEqual([...(await right(opened.open('huge', piece(4, at))))], [i + 1, 2, 3, 4])
    await fs.truncate(file, header.length + bytes - 2)
    const changed = await left(opened.open('huge', piece(4, bytes - 4)))
    assert.match(changed.message, /changed after it was opened/)
    assert.deepEqual([changed.file, changed.path], [file, 'huge'])
  })
})

test('threads give the checksums of tensors, in any number; what cannot be read is said', async () => {
  await inFolder(async (folder) => {
    const file = path.join(folder, 'model.safetensors')
    const sizes = Object.fromEntries(
      Array.from({ length: 12 }, (_, i) => [`t${i}`, 2 * i * 300_001]),
    )
    const data = Object.values(sizes).map((n) => randomBytes(n))
    await fs.writeFile(file, Buffer.concat([fileOf(sizes), ...data]))
    const base = await right(openFolder(folder))
    const hashing = openHashing()
    const sums = await Promise.all(Object.keys(sizes).map((name) => right(hashing.sum(base, name))))
    assert.deepEqual(
      sums,
      data.map((d) => createHash('sha256').update(d).digest('hex')),
    )
    const lost = await left(
      hashing.sum(
        {
          ...base,
          open: (_, use) =>
            use({
              entry: { ...base.tensors.get('t3')!, end: 2 ** 40 },
              fd: 0xffff,
              read: () => TE.right(undefined),
            }),
        },
        't3',
      ),
    )
    assert.match(lost.message, /cannot read the file: EBADF/)
    assert.equal(lost.file, file)
    assert.equal(await right(hashing.sum(base, 't1')), sums[1])
    await hashing.close()
  })
})
