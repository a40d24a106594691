/** Rows shown in prompts: which they are, how they read, and embeddings as transformers gives them. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { stringify } from 'yaml'
import { reference } from '../backends/reference/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { repr } from '../src/data/python.ts'
import { findBase } from '../src/models/base.ts'
import { planOf } from '../src/plan/plan.ts'
import { askingProgram } from '../src/plan/asking.ts'
import { feeds } from '../src/retrieval/encoder.ts'
import { makeEmbeddings } from '../src/retrieval/make.ts'
import {
  directions,
  nearestRows,
  randomRows,
  type Embeddings,
} from '../src/retrieval/neighbours.ts'
import { initialize } from '../src/train/initialize.ts'
import { openBase } from '../src/train/state.ts'
import { here, inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { fc, runs } from './fc.ts'
import { untouched } from './generate-model.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'

const fixtures = path.join(import.meta.dirname, 'fixtures')
const read = (name: string): unknown =>
  JSON.parse(readFileSync(path.join(fixtures, 'retrieval', name), 'utf8'))

test('texts are written as Python writes them', () => {
  for (const [text, written] of read('repr.json') as ReadonlyArray<readonly [string, string]>)
    assert.equal(repr(text), written)
  assert.deepEqual([repr(null), repr(7n), repr(7), repr(true)], ['nan', '7', '7.0', 'True'])
})

test('an embedding is the mean of the last hidden states', async () => {
  const cases = read('embeddings.json') as ReadonlyArray<{
    readonly model: string
    readonly ids: ReadonlyArray<number>
    readonly mean: ReadonlyArray<number>
  }>
  for (const name of ['llama2-tiny', 'llama3-tiny']) {
    const base = right(findBase(path.join(fixtures, 'golden', name, 'base'), '.'))
    const g = { rows: 5, length: 16 }
    const shapes = { ...g, generate: null, embed: true as const }
    const { program } = right(
      askingProgram(base, { ...untouched, frozen: true }, shapes, ['embed']),
    )
    const session = right(await reference.prepare(program)())
    right(await initialize(session, program, right(await openBase(base, program)()), 0)())
    const own = cases.filter((c) => c.model === name)
    const ran = right(
      await session.run(
        'embed',
        feeds(
          own.map((c) => c.ids),
          g,
        ),
      )(),
    )
    own.forEach((c, i) => {
      const size = base.spec.hidden
      const got = Array.from(ran['pooled']!.subarray(i * size, (i + 1) * size))
      assert.ok(relativeError(got, c.mean) < 1e-6)
    })
  }
})

const pools = fc.uniqueArray(fc.nat(30), { minLength: 4, maxLength: 20 })

test('random rows: k different ones of the pool, the same for a row whatever the pool has besides it', () => {
  fc.assert(
    fc.property(
      pools,
      fc.integer({ min: 1, max: 3 }),
      fc.nat(99),
      fc.nat(30),
      (pool, k, seed, row) => {
        const drawn = randomRows(pool, k, seed, row, (p) => p === row)
        assert.equal(new Set(drawn).size, k)
        assert.ok(drawn.every((p) => pool.includes(p) && p !== row))
        assert.deepEqual(
          randomRows(pool, k, seed, row, (p) => p === row),
          drawn,
        )
      },
    ),
    runs(200),
  )
  const of = (row: number) => randomRows([...Array(20).keys()], 3, 1, row, () => false).join()
  assert.ok(new Set(Array.from({ length: 20 }, (_, row) => of(row))).size > 15)
})

const vectors = (rows: number): fc.Arbitrary<Embeddings> =>
  fc
    .array(fc.integer({ min: -3, max: 3 }), { minLength: rows * 3, maxLength: rows * 3 })
    .map((v) => ({ size: 3, values: Float32Array.from(v) }))

test('nearest rows: no row left out points more nearly the same way than one that is shown', () => {
  fc.assert(
    fc.property(
      vectors(8),
      vectors(2),
      fc.nat(1),
      fc.integer({ min: 1, max: 4 }),
      (all, asked, row, k) => {
        const near = (p: number): number => {
          const dot = (a: Embeddings, i: number, b: Embeddings, j: number) =>
            [0, 1, 2].reduce((s, n) => s + a.values[3 * i + n]! * b.values[3 * j + n]!, 0)
          const lengths = Math.sqrt(dot(all, p, all, p) * dot(asked, row, asked, row))
          return lengths === 0 ? 0 : dot(all, p, asked, row) / lengths
        }
        const pool = [0, 2, 3, 4, 5, 7]
        const got = nearestRows(directions(all), pool, directions(asked), row, k, (p) => p === 3)
        assert.equal(got.length, k)
        const left = pool.filter((p) => p !== 3 && !got.includes(p))
        got.forEach((p, i) => {
          assert.ok(pool.includes(p) && p !== 3)
          if (i > 0) assert.ok(near(got[i - 1]!) >= near(p) - 1e-6)
          for (const other of left) assert.ok(near(p) >= near(other) - 1e-6)
        })
      },
    ),
    runs(200),
  )
})

const rows = [
  'red apple',
  'green apple',
  'blue sky',
  'grey sky',
  'old car',
  'new car',
  'a red apple',
  'sky',
]
const config = (retrieval: object) => ({
  model_type: 'llm',
  base_model: 'base',
  input_features: [{ name: 'q', type: 'text' }],
  output_features: [{ name: 'a', type: 'text' }],
  prompt: { template: '{__context__} {q}', retrieval },
  preprocessing: { split: { type: 'fixed' } },
  generation: { do_sample: false, max_new_tokens: 2 },
  trainer: { type: 'none' },
  compiler: { backend: 'reference', dataset: 'data.csv' },
})

const job = async (folder: string): Promise<void> => {
  await writeModel(path.join(folder, 'base'), 3)
  const lines = rows.map((q, i) => `${q},${i},${i < 6 ? 0 : 2}\n`)
  await fs.writeFile(path.join(folder, 'data.csv'), `q,a,split\n${lines.join('')}`)
}

const configIn = (retrieval: object) =>
  right(parseConfig(stringify(config(retrieval)), { file: 'job.yaml' })).config

const promptsIn = (folder: string, retrieval: object): ReadonlyArray<string> =>
  right(planOf(configIn(retrieval), { folder, clock: () => 0 })).data!.texts.map((t) => t.prompt!)

const shownIn = (prompt: string): ReadonlyArray<number> =>
  [...prompt.matchAll(/'a': '(\d)'/g)].map((m) => Number(m[1]))

test('random: prompts show training rows with their answers, never their own', async () =>
  inFolder(async (folder) => {
    await job(folder)
    const prompts = promptsIn(folder, { type: 'random', k: 2 })
    prompts.forEach((p, row) => {
      assert.match(p, /^\[\{'q': '[a-z ]+', 'a': '\d'\}, \{'q': '[a-z ]+', 'a': '\d'\}\] /)
      assert.ok(p.endsWith(` ${rows[row]}`))
      const shown = shownIn(p)
      assert.ok(shown.length === 2 && shown.every((i) => i < 6 && i !== row))
    })
    assert.deepEqual(promptsIn(folder, { type: 'random', k: 2 }), prompts)
    const many = configIn({ type: 'random', k: 6 })
    const refused = planOf(many, { folder, clock: () => 0 })
    assert.ok(E.isLeft(refused))
    assert.equal(refused.left[0].message, '6 rows are to be retrieved, and 6 can be')
  }))

test('semantic: embeddings are made once, kept by content, and the nearest rows are shown', async () =>
  inFolder(async (folder) => {
    await job(folder)
    const c = configIn({ type: 'semantic', k: 2 })
    const bare = planOf(c, { folder, clock: () => 0 })
    assert.ok(E.isLeft(bare))
    assert.match(bare.left[0].message, /have not been made yet/)
    let made = 0
    const make = async (): Promise<void> => {
      const engine = () => Promise.resolve(E.right(reference))
      right(await makeEmbeddings(c, folder, null, engine, () => void made++)())
    }
    await make()
    assert.ok(made > 0)
    const before = made
    await make()
    assert.equal(made, before)
    const prompts = promptsIn(folder, { type: 'semantic', k: 2 })
    prompts.forEach((p, row) => assert.ok(shownIn(p).every((i) => i < 6 && i !== row)))
    // What reads alike is near: the last letters weigh most in this tiny model of random weights.
    assert.ok(shownIn(prompts[6]!).some((i) => rows[i]!.includes('apple')))
    await fs.appendFile(path.join(folder, 'data.csv'), 'more,9,0\n')
    assert.ok(E.isLeft(planOf(c, { folder, clock: () => 0 })))
    await make()
    assert.ok(made > before)
    assert.equal((await fs.readdir(path.join(folder, '.tunec'))).length, 2)
  }))

test('predict: rows of another file are shown training rows of the config', async () =>
  inFolder(async (folder) => {
    await job(folder)
    const file = path.join(folder, 'job.yaml')
    await fs.writeFile(file, stringify(config({ type: 'semantic', k: 2 })))
    const other = path.join(folder, 'other.csv')
    await fs.writeFile(other, 'q\nred apple\n')
    const out = path.join(folder, 'out')
    const ran = await here('predict', file, '--dataset', other, '-o', out, '--format', 'jsonl')
    assert.equal(ran.code, 0, ran.err)
    // One set for the rows that are asked, one for those that are shown.
    assert.equal((await fs.readdir(path.join(folder, '.tunec'))).length, 2)
    await fs.writeFile(
      file,
      stringify({ ...config({ type: 'random' }), compiler: { backend: 'reference' } }),
    )
    const lost = await here('predict', file, '--dataset', other, '-o', out)
    assert.match(lost.err, /the config names no data whose training rows could be retrieved/)
  }))
