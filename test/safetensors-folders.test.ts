/** Model folders: shards and their index agree, or the issue names what does not. */
import assert from 'node:assert/strict'
import {
  copyFile,
  mkdir,
  readdir,
  readFile,
  rename,
  rm,
  writeFile as writeBytes,
} from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue } from '../src/issue.ts'
import { openFolder } from '../src/tensors/reader.ts'
import type { Sums } from '../src/tensors/sums.ts'
import { type TensorData, writeFile, writeFolder } from '../src/tensors/writer.ts'
import { type AnyTensor, anyTensors, inFolder, left, right } from './safetensors-arbitrary.ts'
import { gated, withoutSync } from './safetensors-faults.ts'

const write = (
  folder: string,
  tensors: ReadonlyArray<TensorData>,
  maxShardBytes: number,
): Promise<Sums> => gated(withoutSync, () => right(writeFolder(folder, tensors, { maxShardBytes })))

const bytes = (name: string, length: number): AnyTensor => ({
  name,
  dtype: 'I8',
  shape: [length],
  data: new Uint8Array(length).fill(length),
})

/** Three shards: a and b, c alone, d. */
const four = [bytes('a', 3), bytes('b', 2), bytes('c', 9), bytes('d', 1)]
const shard = (n: number): string => `model-0000${n}-of-00003.safetensors`
const indexFile = 'model.safetensors.index.json'

const editIndex = async (folder: string, change: (text: string) => string): Promise<void> => {
  const path = join(folder, indexFile)
  await writeBytes(path, change(await readFile(path, 'utf8')))
}

test('a model is cut into shards in the order given, with the index of transformers', async () => {
  await inFolder(async (around) => {
    const folder = join(around, 'model')
    await right(writeFolder(folder, four, { maxShardBytes: 5 }))
    assert.deepEqual((await readdir(folder)).toSorted(), [shard(1), shard(2), shard(3), indexFile])
    assert.equal(
      await readFile(join(folder, indexFile), 'utf8'),
      `{
  "metadata": {
    "total_parameters": 15,
    "total_size": 15
  },
  "weight_map": {
    "a": "${shard(1)}",
    "b": "${shard(1)}",
    "c": "${shard(2)}",
    "d": "${shard(3)}"
  }
}
`,
    )
    const { tensors, read } = await right(openFolder(folder))
    assert.equal(tensors.get('c')?.file, join(folder, shard(2)))
    assert.deepEqual(await right(read('b')), Uint8Array.of(2, 2))
    assert.match((await left(read('e'))).message, /not in the checkpoint/)
  })
})

test('every shard is filled as far as it goes', async () => {
  await inFolder(async (folder) => {
    const tensors = Array.from({ length: 6 }, (_, i) => bytes(`t${i}`, 2))
    await write(folder, tensors, 4)
    const { tensors: written } = await right(openFolder(folder))
    assert.deepEqual(
      tensors.map(({ name }) => written.get(name)?.file),
      [1, 1, 2, 2, 3, 3].map((n) => join(folder, shard(n))),
    )
  })
})

test('a model that fits one shard is one file without an index', async () => {
  await inFolder(async (folder) => {
    await write(folder, four, 15)
    assert.deepEqual(await readdir(folder), ['model.safetensors'])
    assert.deepEqual([...(await right(openFolder(folder))).tensors.keys()], ['a', 'b', 'c', 'd'])
  })
})

test('any model comes back from any number of shards, none too large', async () => {
  await inFolder(async (around) => {
    let count = 0
    await fc.assert(
      fc.asyncProperty(anyTensors, fc.nat(300), async (tensors, maxShardBytes) => {
        const folder = join(around, String(count++))
        await write(folder, tensors, maxShardBytes)
        const checkpoint = await right(openFolder(folder))
        assert.equal(checkpoint.tensors.size, tensors.length)
        for (const { name, dtype, shape, data } of tensors) {
          const entry = checkpoint.tensors.get(name) ?? assert.fail(name)
          assert.deepEqual([entry.dtype, entry.shape], [dtype, shape])
          assert.deepEqual(await right(checkpoint.read(name)), data)
        }
        const held = [...checkpoint.tensors.values()].filter(({ begin, end }) => begin < end)
        for (const shardFile of new Set(held.map(({ file }) => file))) {
          const sizes = held.filter((t) => t.file === shardFile).map((t) => t.end - t.begin)
          assert.ok(sizes.length === 1 || sizes.reduce((a, b) => a + b) <= maxShardBytes)
        }
      }),
      { numRuns: 60 },
    )
  })
})

test('a folder with weights is not written to, and a failed model leaves none', async () => {
  await inFolder(async (folder) => {
    await writeBytes(join(folder, 'config.json'), '{}')
    const failing = [...four, { ...bytes('e', 1), data: () => TE.left(issue('no e')) }]
    assert.equal((await left(writeFolder(folder, failing, { maxShardBytes: 5 }))).message, 'no e')
    assert.deepEqual(await readdir(folder), ['config.json'])
    await write(folder, four, 5)
    const again = await left(writeFolder(folder, four, { maxShardBytes: 100 }))
    assert.match(again.message, /already holds weights/)
    const twice = await left(writeFolder(folder, [...four, ...four], { maxShardBytes: 5 }))
    assert.match(twice.message, /same name/)
  })
})

type Spoil = (folder: string) => Promise<void>
const toIndex =
  (from: string, to: string): Spoil =>
  (folder) =>
    editIndex(folder, (text) => text.replaceAll(from, to))
const inIndex = (name: string): string => `"c": "${name}"`

const spoiled: ReadonlyArray<readonly [what: string, spoil: Spoil, says: RegExp]> = [
  [
    'a missing shard',
    (folder) => rm(join(folder, shard(2))),
    /1 of 3 shards are missing: model-00002-of-00003\.safetensors/,
  ],
  ['a cut-off shard', (folder) => writeBytes(join(folder, shard(2)), ''), /the file is empty/],
  [
    'a tensor that its shard does not hold',
    toIndex('"c":', '"x":'),
    /puts the tensor in model-00002-of-00003.safetensors, which does not hold it/,
  ],
  [
    'a tensor that the index does not list',
    toIndex(`    "a": "${shard(1)}",\n`, ''),
    /holds the tensor, which the index does not list/,
  ],
  [
    'a tensor in two shards',
    async (folder) => {
      await gated(withoutSync, () =>
        right(writeFile(join(folder, shard(3)), [bytes('d', 1), bytes('a', 3)])),
      )
    },
    /model-00003-of-00003.safetensors holds the tensor, which the index puts in model-00001/,
  ],
  [
    'two shards exchanged',
    async (folder) => {
      await rename(join(folder, shard(2)), join(folder, 'x'))
      await rename(join(folder, shard(3)), join(folder, shard(2)))
      await rename(join(folder, 'x'), join(folder, shard(3)))
    },
    /which does not hold it/,
  ],
  ...[
    '../secret.safetensors',
    '/etc/passwd',
    '..',
    '.',
    '',
    'sub/x',
    'sub\\\\x',
    'C:x',
    'x\\u0000',
  ].map(
    (name) =>
      [
        `a shard called ${JSON.stringify(name)}`,
        toIndex(inIndex(shard(2)), inIndex(name)),
        /is not a plain file name/,
      ] as const,
  ),
  ['a shard that is a number', toIndex(inIndex(shard(2)), '"c": 2'), /not a plain file name/],
  ['an index that stops', (f) => editIndex(f, (text) => text.slice(0, 90)), /not JSON/],
  ['an index with a tensor twice', toIndex('"b":', '"a":'), /`a` is written twice/],
  ['an index without a map', toIndex('weight_map', 'map'), /no `weight_map`/],
  ['an index that is a list', (f) => editIndex(f, () => '[]'), /text that begins with `\[\]`/],
  [
    'an index that is a pointer',
    (f) => editIndex(f, () => 'version https://git-lfs.github.com/spec/v1\nsize 9\n'),
    /Git LFS pointer/,
  ],
]
for (const [what, spoil, says] of spoiled)
  test(`a model with ${what} is refused`, async () => {
    await inFolder(async (folder) => {
      await write(folder, four, 5)
      await spoil(folder)
      const found = await left(openFolder(folder))
      assert.match(found.message, says)
      assert.ok(found.file?.startsWith(folder))
      assert.ok(found.hint ?? found.expected)
    })
  })

test('an index may have metadata of any kind', async () => {
  await inFolder(async (folder) => {
    await write(folder, four, 5)
    await editIndex(folder, (text) => text.replace('"total_size": 15', '"total_size": 1.5e1'))
    assert.equal((await right(openFolder(folder))).tensors.size, 4)
  })
})

test('the single file is preferred to an index, as transformers does', async () => {
  await inFolder(async (folder) => {
    await write(folder, four, 5)
    await copyFile(join(folder, shard(3)), join(folder, 'model.safetensors'))
    assert.deepEqual([...(await right(openFolder(folder))).tensors.keys()], ['d'])
  })
})

const otherFolders: ReadonlyArray<readonly [names: ReadonlyArray<string>, says: RegExp]> = [
  [[], /holds no weights/],
  [['config.json'], /holds no weights/],
  [['config.json', 'pytorch_model.bin'], /PyTorch pickles \(`pytorch_model.bin`\)/],
  [['pytorch_model.bin.index.json', 'pytorch_model-00001-of-00002.bin'], /PyTorch pickles/],
  [['consolidated.00.pth'], /PyTorch pickles/],
  [['model-q4_0.gguf'], /a GGUF file/],
  [['tf_model.h5'], /TensorFlow or Flax/],
  [['adapter_config.json', 'adapter_model.safetensors'], /an adapter/],
  [['consolidated.safetensors'], /under another name/],
  [[shard(1), shard(2)], /shards without their/],
]
for (const [names, says] of otherFolders)
  test(`a folder of [${names.join(', ')}] says what it holds`, async () => {
    await inFolder(async (folder) => {
      for (const name of names) await writeBytes(join(folder, name), 'x')
      const found = await left(openFolder(folder))
      assert.match(found.message, says)
      assert.equal(found.file, folder)
      assert.match(found.expected ?? '', /model\.safetensors/)
    })
  })

test('a folder that is missing or a file is an issue', async () => {
  await inFolder(async (folder) => {
    assert.match((await left(openFolder(join(folder, 'no')))).message, /no such file or folder/)
    await writeBytes(join(folder, 'file'), '')
    assert.match((await left(openFolder(join(folder, 'file')))).message, /is a file, not a folder/)
    await mkdir(join(folder, 'model.safetensors'))
    assert.match((await left(openFolder(folder))).message, /not a file/)
  })
})
