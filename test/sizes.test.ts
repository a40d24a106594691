/** Sizes at and beyond their bounds: refused with a reason before anything is made of them, never a hang or a bug. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { reference } from '../backends/reference/index.ts'
import { pack } from '../src/data/pack.ts'
import type { Sample } from '../src/data/samples.ts'
import { affordable, lacksMemory, machineMemory } from '../src/machine.ts'
import { readSpec } from '../src/models/spec.ts'
import { programOf } from '../src/plan/program.ts'
import { train } from '../src/train/train.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'
import { left, planFor, quiet, withBase, yaml } from './train-job.ts'

const edit = async (job: string, from: string, to: string): Promise<void> => {
  const text = await fs.readFile(job, 'utf8')
  assert.ok(text.includes(from))
  await fs.writeFile(job, text.replace(from, to))
}

test('keys of the config: the bound is accepted, one more is refused with its reason', async () => {
  for (const [from, to, bound, why] of [
    [
      'compiler:',
      'compiler:\n  row_length: #',
      1048576,
      /row_length.*\n.*\n.*\n.*\n.*from 1 to 1048576 \(the longest/,
    ],
    ['compiler:', 'compiler:\n  micro_batch_rows: #', 65536, /from 1 to 65536 \(the most rows/],
    ['dropout: 0', 'dropout: 0, r: #', 65536, /from 1 to 65536 \(no matrix/],
  ] as const)
    await inFolder(async (folder) => {
      const job = await smallJob(folder)
      await edit(job, from, to.replace('#', String(bound)))
      assert.equal((await here('check', job)).code, 0, to)
      for (const more of [bound + 1, 1e7, 1e12, Number.MAX_SAFE_INTEGER, 1e300]) {
        await edit(job, to.replace('#', String(bound)), to.replace('#', String(more)))
        const { code, err } = await here('check', job)
        assert.equal(code, 1)
        assert.match(err, why)
        await edit(job, to.replace('#', String(more)), to.replace('#', String(bound)))
      }
    })
})

test('options of the command have the same bounds', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    for (const [flag, most] of [
      ['--sequence-length', 2 ** 20],
      ['--batch', 2 ** 16],
    ] as const) {
      const { code, err } = await here('memory', job, flag, String(most + 1))
      assert.equal(code, 2)
      assert.match(err, new RegExp(`expected a whole number from 1 to ${most}`))
    }
  })
})

const tiny = {
  model_type: 'llama',
  vocab_size: 32,
  hidden_size: 16,
  intermediate_size: 20,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  max_position_embeddings: 64,
}

test('sizes of config.json: the bound is read, one more is refused by its key', () => {
  for (const [key, most, other] of [
    ['vocab_size', 2 ** 24, {}],
    ['hidden_size', 2 ** 18, { head_dim: 8 }],
    ['intermediate_size', 2 ** 20, {}],
    ['num_hidden_layers', 256, {}],
    // The hidden size stays a multiple of the heads.
    ['num_attention_heads', 2 ** 12, { head_dim: 8, hidden_size: 2 ** 18 }],
    ['head_dim', 2 ** 12, {}],
    ['max_position_embeddings', 2 ** 31 - 1, {}],
  ] as const) {
    right(readSpec({ ...tiny, ...other, [key]: most }))
    const beyond =
      key === 'num_attention_heads' ? [2 ** 13, 2 ** 18] : [most + 2, 1e5 * most, 2 ** 53 - 2]
    for (const more of beyond) {
      const why = left(readSpec({ ...tiny, ...other, [key]: more }))
      assert.ok(why.message.includes(`(${key})`) && why.expected === `at most ${most}`, why.message)
    }
  }
  // Each within its bound, all of them together beyond any machine.
  const all = { vocab_size: 2 ** 24, hidden_size: 2 ** 18, intermediate_size: 2 ** 20 }
  const why = left(readSpec({ ...tiny, ...all, num_hidden_layers: 256, head_dim: 4096 }))
  assert.match(why.message, /the model has 2\.\de\+14 parameters/)
})

test('numbers of config.json that nothing can be computed with', () => {
  for (const [key, value] of [
    ['rms_norm_eps', Infinity],
    ['rms_norm_eps', -1],
    ['rope_theta', 0],
    ['rope_theta', -10],
    ['rope_theta', Infinity],
    ['rope_scaling', { rope_type: 'linear', factor: 0 }],
    ['rope_scaling', { rope_type: 'linear', factor: Infinity }],
  ] as const)
    assert.ok(E.isLeft(readSpec({ ...tiny, [key]: value })), key)
})

test('a factor that stretches the context beyond any position is refused at its line', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder)
    const scaled =
      'model_parameters: { rope_scaling: { rope_type: linear, factor: 1e300 } }\ncompiler:'
    await edit(job, 'compiler:', scaled)
    const { code, err } = await here('check', job)
    assert.equal(code, 1)
    assert.match(
      err,
      /positions \(max_position_embeddings\) \(model_parameters\.rope_scaling\.factor\)/,
    )
    assert.match(err, /job\.yaml:\d+/)
  })
})

test('a job whose bytes could not be counted is refused', async () => {
  const base = {
    packed: null,
    remarks: [],
    name: 'b',
    folder: null,
    spec: right(
      readSpec({
        ...tiny,
        hidden_size: 2 ** 16,
        head_dim: 8,
        vocab_size: 2 ** 20,
        num_hidden_layers: 100,
      }),
    ),
  }
  const shapes = { rows: 2 ** 16, length: 2 ** 20, generate: null }
  const [why] = left(programOf(base, shapes, [], () => 0))
  assert.match(why.message, /65536 rows of 1048576 tokens/)
})

test('an arena larger than the machine is said before it is allocated', async () => {
  const memory = machineMemory()
  assert.ok(memory > 2 ** 28 && memory <= os.totalmem())
  assert.equal(lacksMemory(16e9, 16e9), null)
  assert.equal(
    lacksMemory(16e9 + 1e7, 16e9),
    'it takes 16.01 GB of memory, and this machine has 16.00 GB',
  )
  right(affordable('a card', 1e15))
  left(affordable('tfjs', 1e15))
  right(affordable('tfjs', 1e15, { name: 'a card' }))
  await withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const backend = { ...reference, prepare: () => assert.fail('prepared all the same') }
    const far = { ...plan, arenaBytes: 2 * os.totalmem() }
    const [why] = left(await train(far, backend, quiet(folder).options)())
    assert.match(why.message, /cannot run here: it takes .* this machine has/)
    assert.deepEqual(await fs.readdir(folder), ['base'])
  })
})

test('`check` says it too, and does not say that nothing stands in the way', async () => {
  await inFolder(async (folder) => {
    const job = await smallJob(folder, 'row_length: 1048576')
    await edit(job, 'compiler:', 'compiler:\n  micro_batch_rows: 1024')
    const { code, out } = await here('check', job)
    assert.equal(code, 0)
    assert.match(out, /the config is sound; it takes [\d.]+ TB of memory, and this machine has/)
  })
})

/** Best fit as it is defined, room by room. */
const bestFit = (lengths: ReadonlyArray<number>, rowLength: number) => {
  const rows: Array<{ readonly samples: Array<number>; room: number; touched: number }> = []
  const order = lengths.map((length, index) => ({ length, index }))
  order.sort((a, b) => b.length - a.length || a.index - b.index)
  order.forEach(({ length, index }, now) => {
    const fitting = rows.filter((r) => r.room >= length && r.room < rowLength)
    // The fullest; of equally full ones the one that was filled last.
    fitting.sort((a, b) => a.room - b.room || b.touched - a.touched)
    const row = fitting[0] ?? { samples: [], room: rowLength, touched: now }
    if (fitting[0] === undefined) rows.push(row)
    row.samples.push(index)
    row.room -= length
    row.touched = now
  })
  return rows.map((r) => r.samples)
}

test('packing is best fit, and does no work for room that nobody has', () => {
  const sample = (n: number): Sample => ({ row: 0, prompt: [], target: Array<number>(n).fill(1) })
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 40 }),
      fc.integer({ min: 12, max: 30 }),
      (lengths, rowLength) => {
        const packed = right(pack(lengths.map(sample), { rowLength }))
        assert.deepEqual(packed, bestFit(lengths, rowLength))
      },
    ),
    runs(300),
  )
  assert.deepEqual(right(pack([sample(3), sample(4)], { rowLength: 2 ** 52 })), [[1, 0]])
})
