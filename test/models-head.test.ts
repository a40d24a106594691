/** A head that config.json ties and the files do not: whose logits, which files, and what is said. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { findBase } from '../src/models/base.ts'
import { writeFolder } from '../src/tensors/writer.ts'
import { right } from './right.ts'
import { baseTensors, writeBase, type Tensor } from './train-job.ts'

const embedding = baseTensors()[0]!
const headOf = (data: Uint8Array): Tensor => ({ ...embedding, name: 'lm_head.weight', data })
const same = headOf(embedding.data)
/** Differs in the last bit of the last value alone. */
const other = headOf(embedding.data.map((b, i) => (i === embedding.data.length - 2 ? b ^ 1 : b)))

const withFolder = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-head-'))
  try {
    await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

const found = (folder: string) => {
  const { spec, remarks } = right(findBase('.', folder))
  return { tied: spec.tied, remarks }
}

test('a head that differs from the embedding counts, in one file and over shards', async () => {
  for (const maxShardBytes of [1e9, 600])
    await withFolder(async (folder) => {
      await writeBase(folder)
      await fs.rm(path.join(folder, 'model.safetensors'))
      right(await writeFolder(folder, [...baseTensors(), other], { maxShardBytes })())
      const { tied, remarks } = found(folder)
      assert.equal(tied, false)
      assert.equal(remarks.length, 1)
      assert.match(remarks[0]!, /lm_head.weight other than the embedding: both are used/)
    })
})

test('a head that is the embedding over again is tied, in silence', async () => {
  for (const maxShardBytes of [1e9, 600])
    await withFolder(async (folder) => {
      await writeBase(folder)
      await fs.rm(path.join(folder, 'model.safetensors'))
      right(await writeFolder(folder, [...baseTensors(), same], { maxShardBytes })())
      assert.deepEqual(found(folder), { tied: true, remarks: [] })
    })
})

test('a head of another dtype or shape is another head', async () => {
  const wide = { ...other, dtype: 'F32' as const, shape: [embedding.shape[0]! / 2, 16] }
  await withFolder(async (folder) => {
    await writeBase(folder, [...baseTensors(), wide])
    assert.equal(found(folder).tied, false)
  })
})

test('files that are missing or broken say nothing: who loads the weights says what is wrong', async () => {
  const broken: ReadonlyArray<(folder: string) => Promise<unknown>> = [
    (f) => fs.rm(path.join(f, 'model.safetensors')),
    (f) => fs.truncate(path.join(f, 'model.safetensors'), 5),
    (f) => fs.writeFile(path.join(f, 'model.safetensors'), 'version https://git-lfs'),
    async (f) => {
      await fs.rm(path.join(f, 'model.safetensors'))
      await fs.mkdir(path.join(f, 'model.safetensors'))
    },
  ]
  for (const breaking of broken)
    await withFolder(async (folder) => {
      await writeBase(folder, [...baseTensors(), other])
      await breaking(folder)
      assert.deepEqual(found(folder), { tied: true, remarks: [] })
    })
})

test('the logits of a golden model do not change when its config.json ties its own head', async () => {
  const golden = path.join(import.meta.dirname, 'fixtures', 'golden', 'llama2-tiny', 'base')
  await withFolder(async (folder) => {
    const config = JSON.parse(
      await fs.readFile(path.join(golden, 'config.json'), 'utf8'),
    ) as Readonly<Record<string, unknown>>
    await fs.copyFile(
      path.join(golden, 'model.safetensors'),
      path.join(folder, 'model.safetensors'),
    )
    await fs.writeFile(
      path.join(folder, 'config.json'),
      JSON.stringify({ ...config, tie_word_embeddings: true }),
    )
    // The golden numbers are of transformers 5 with both tensors; equal specs compute equal numbers.
    const untied = right(findBase('.', golden))
    assert.deepEqual(right(findBase('.', folder)).spec, untied.spec)
  })
})
