/** Writing and reading one file: the same tensors come back, byte by byte, and nothing half-read passes. */
import assert from 'node:assert/strict'
import {
  mkdir,
  readdir,
  readFile,
  truncate,
  utimes,
  writeFile as writeBytes,
} from 'node:fs/promises'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue } from '../src/issue.ts'
import { openFile, type TensorFile } from '../src/tensors/reader.ts'
import { type TensorData, writeFile } from '../src/tensors/writer.ts'
import {
  type AnyTensor,
  anyTensors,
  fileOf,
  inFolder,
  left,
  right,
} from './safetensors-arbitrary.ts'
import { gated, withoutSync } from './safetensors-faults.ts'
import { oracle } from './safetensors-oracle.ts'

const write = (path: string, tensors: ReadonlyArray<TensorData>): Promise<string> =>
  gated(withoutSync, () => right(writeFile(path, tensors)))

const contents = async (file: TensorFile): Promise<ReadonlyArray<AnyTensor>> => {
  const all: Array<AnyTensor> = []
  for (const { name, dtype, shape } of file.tensors.values())
    all.push({ name, dtype, shape, data: await right(file.read(name)) })
  return all
}

const sorted = (tensors: ReadonlyArray<AnyTensor>): ReadonlyArray<AnyTensor> =>
  tensors.toSorted((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)))

const f32 = (name: string, values: ReadonlyArray<number>): AnyTensor => ({
  name,
  dtype: 'F32',
  shape: [values.length],
  data: new Uint8Array(Float32Array.from(values).buffer),
})

test('two tensors are written and read again', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'adapter_model.safetensors')
    const tensors = [f32('lora_A.weight', [1, 2]), f32('lora_B.weight', [0])]
    await right(writeFile(path, tensors))
    const file = await right(openFile(path))
    assert.deepEqual(file.metadata, new Map([['format', 'pt']]))
    assert.deepEqual(await contents(file), tensors)
    const { begin, end, file: at } = file.tensors.get('lora_B.weight') ?? assert.fail()
    assert.equal(at, path)
    assert.deepEqual(new Uint8Array((await readFile(path)).subarray(begin, end)), new Uint8Array(4))
  })
})

test('any tensors come back, whatever their order and whether as bytes or thunks', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'any.safetensors')
    await fc.assert(
      fc.asyncProperty(anyTensors, fc.nat(), async (tensors, turn) => {
        await write(path, tensors)
        const bytes = new Uint8Array(await readFile(path))
        assert.deepEqual(sorted(await contents(await right(openFile(path)))), sorted(tensors))
        assert.deepEqual(
          oracle(bytes),
          new Map(tensors.map(({ name, dtype, shape, data }) => [name, { dtype, shape, data }])),
        )
        const at = tensors.length === 0 ? 0 : turn % tensors.length
        const turned = [...tensors.slice(at), ...tensors.slice(0, at)].toReversed()
        await write(
          path,
          turned.map((tensor) => ({ ...tensor, data: () => TE.right(tensor.data) })),
        )
        assert.deepEqual(new Uint8Array(await readFile(path)), bytes)
      }),
      { numRuns: 150 },
    )
  })
})

test('the bytes are those that the reference library writes', async () => {
  const reference = new URL('./fixtures/safetensors/reference.safetensors', import.meta.url)
    .pathname
  await inFolder(async (folder) => {
    const path = join(folder, 'again.safetensors')
    await write(path, (await contents(await right(openFile(reference)))).toReversed())
    assert.deepEqual(await readFile(path), await readFile(reference))
  })
})

test('thunks are called once each, one at a time, as their bytes are due', async () => {
  await inFolder(async (folder) => {
    const calls: Array<string> = []
    let open = 0
    const thunk = (name: string): TensorData => ({
      ...f32(name, [1]),
      data: () => async () => {
        assert.equal(open++, 0)
        calls.push(name)
        await new Promise(setImmediate)
        open--
        return TE.right(new Uint8Array(4))()
      },
    })
    await write(join(folder, 'x'), ['b', 'c', 'a'].map(thunk))
    assert.deepEqual(calls, ['a', 'b', 'c'])
  })
})

test('tensors that no file can hold are issues, and the old file stands', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    await write(path, [f32('old', [1])])
    const before = await readFile(path)
    const one = f32('one', [1])
    const bad: ReadonlyArray<readonly [RegExp, ReadonlyArray<TensorData>]> = [
      [/same name/, [one, one]],
      [/`__metadata__` cannot name/, [{ ...one, name: '__metadata__' }]],
      [/surrogate/, [{ ...one, name: '\ud800' }]],
      [/4 bytes of data/, [{ ...one, shape: [2] }]],
      [/5 bytes of data/, [one, { ...one, name: 'two', data: new Uint8Array(5) }]],
      [/the size -1/, [{ ...one, shape: [-1] }]],
      [/the size NaN/, [{ ...one, shape: [NaN] }]],
      [/the size 0.5/, [{ ...one, shape: [0.5] }]],
      [/beyond 2\^53/, [{ ...one, shape: [2 ** 30, 2 ** 30] }]],
      [/fill whole bytes/, [{ ...one, dtype: 'F4' }]],
      [/no such day/, [one, { ...one, name: 'two', data: () => TE.left(issue('no such day')) }]],
      [/8 bytes of data/, [{ ...one, data: () => TE.right(new Uint8Array(8)) }]],
    ]
    for (const [says, tensors] of bad) {
      const { message, file } = await left(writeFile(path, tensors))
      assert.match(message, says)
      assert.equal(file, path)
    }
    assert.match((await left(writeFile(path, [one], { k: '\udfff' }))).message, /surrogate/)
    assert.deepEqual(await readFile(path), before)
    assert.deepEqual(await readdir(folder), ['x.safetensors'])
  })
})

test('reads go on until all bytes came', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const tensors = [
      f32(
        'long',
        Array.from({ length: 50 }, (_, i) => i),
      ),
    ]
    await write(path, tensors)
    const dribble = await open(path)
    await dribble.close()
    const real = Object.getPrototypeOf(dribble) as {
      read: (...all: ReadonlyArray<unknown>) => unknown
    }
    const { read } = real
    real.read = function (into, from, length, position) {
      return read.call(this, into, from, Math.min(Number(length), 7), position)
    }
    try {
      assert.deepEqual(await contents(await right(openFile(path))), tensors)
    } finally {
      real.read = read
    }
  })
})

test('a read that comes to the end too early is an issue', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    await write(path, [f32('long', [1, 2, 3])])
    const file = await right(openFile(path))
    const short = await gated(
      (call, proceed) => (call.name === 'read' ? Promise.resolve({ bytesRead: 0 }) : proceed()),
      () => left(file.read('long')),
    )
    assert.match(short.message, /ended after 0 of 12 bytes/)
    assert.equal(short.path, 'long')
    assert.equal(short.file, path)
  })
})

test('a file that changes after it was opened is not read', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'x.safetensors')
    const tensors = [f32('a', [1, 2])]
    const spoil: ReadonlyArray<() => Promise<unknown>> = [
      () => write(path, tensors),
      () => truncate(path, 100),
      () => utimes(path, 1, 1),
    ]
    for (const change of spoil) {
      await write(path, tensors)
      const file = await right(openFile(path))
      await change()
      assert.match((await left(file.read('a'))).message, /changed after it was opened/)
    }
  })
})

test('positions beyond 4 GiB are read', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'sparse.safetensors')
    const far = 5 * 2 ** 30
    const header = fileOf({
      near: { dtype: 'U8', shape: [far], data_offsets: [0, far] },
      far: { dtype: 'U8', shape: [3], data_offsets: [far, far + 3] },
    })
    await writeBytes(path, header)
    await truncate(path, header.length + far)
    const end = await open(path, 'a')
    await end.write(Uint8Array.of(7, 8, 9))
    await end.close()
    const file = await right(openFile(path))
    assert.deepEqual(await right(file.read('far')), Uint8Array.of(7, 8, 9))
  })
})

test('paths that are no file and names that are no tensor are issues', async () => {
  await inFolder(async (folder) => {
    const lost = await left(openFile(join(folder, 'lost')))
    assert.equal(lost.message, 'cannot read the file: there is no such file or folder')
    assert.equal(lost.file, join(folder, 'lost'))
    await mkdir(join(folder, 'sub'))
    assert.match((await left(openFile(join(folder, 'sub')))).message, /not a file/)
    assert.match((await left(openFile('a\0b'))).message, /cannot read the file/)
    await write(join(folder, 'x'), [])
    const missing = await left((await right(openFile(join(folder, 'x')))).read('toString'))
    assert.equal(missing.path, 'toString')
  })
})

const text = (from: string): Uint8Array => new Uint8Array(Buffer.from(from))
const others: ReadonlyArray<readonly [what: RegExp, bytes: Uint8Array]> = [
  [/the file is empty/, text('')],
  [
    /a Git LFS pointer/,
    text('version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 2200119864\n'),
  ],
  [/a web page/, text('<!DOCTYPE html>\n<html lang="en"><title>Sign in</title></html>')],
  [/a web page/, text('\n <html><body>Not found</body></html>')],
  [/begins with `Entry not found`/, text('Entry not found')],
  [/begins with `\{"error":"Repository/, text('{"error":"Repository not found"}')],
  [/a ZIP archive/, new Uint8Array([0x50, 0x4b, 3, 4, 0, 0, 8, 8, 0, 0])],
  [/a pickle of PyTorch/, new Uint8Array([0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9])],
  [/a GGUF file/, text('GGUF\x03\0\0\0\x01\0')],
  [/filled with zeros/, new Uint8Array(2000)],
]
for (const [says, bytes] of others)
  test(`a file that is something else says what it is: ${says.source}`, async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'model.safetensors')
      await writeBytes(path, bytes)
      const found = await left(openFile(path))
      assert.match(found.message, says)
      assert.equal(found.file, path)
      assert.ok(found.hint)
      if (/LFS/.test(found.message)) assert.match(found.expected ?? '', /2200119864 bytes/)
    })
  })

test('a damaged header whose length looks like the start of an archive is called damaged', async () => {
  await inFolder(async (folder) => {
    const path = join(folder, 'model.safetensors')
    const header = '{"a":{"dtype":"F33","shape":[0],"data_offsets":[0,0]}}'
    await writeBytes(path, fileOf(header.padEnd(0x8b1f)))
    assert.match((await left(openFile(path))).message, /"F33" is unknown/)
  })
})
