/** What plan and data decide is said by check, compile and train alike, before any weight is read. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { reference } from '../backends/reference/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { foresee } from '../src/train/foresee.ts'
import { train } from '../src/train/train.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'
import { left, planFor, quiet, samplesOf, withBase, yaml } from './train-job.ts'

/** The same refusal of every command that leads to a run. The base has no weights, so none were read. */
const refused = async (file: string, what: RegExp): Promise<void> => {
  for (const command of ['check', 'compile', 'train']) {
    const { code, err } = await here(command, file)
    assert.equal(code, 1, command)
    assert.match(err, what, command)
    assert.doesNotMatch(err, /safetensors/)
  }
}

const edit = async (file: string, from: string, to: string): Promise<void> => {
  const text = await fs.readFile(file, 'utf8')
  assert.ok(text.includes(from), from)
  await fs.writeFile(file, text.replace(from, to))
}

test('a sample longer than a fixed row is refused with its line, and the row length of the hint is enough', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder, 'row_length: 48')
    const words = (n: number) => Array.from({ length: n }, (_, i) => `word ${i}`).join(' ')
    const data = path.join(folder, 'data.csv')
    await fs.appendFile(data, `Say ${words(9)},${words(4)}\nSay ${words(8)},${words(4)}\n`)
    await refused(
      file,
      /line 14 of the data has (\d+) tokens[^]*1 more is too long[^]*data\.csv:14\n/,
    )
    const { err } = await here('check', file)
    const hinted = /set compiler\.row_length to (\d+) or to auto/.exec(err)![1]!
    await edit(file, 'row_length: 48', `row_length: ${Number(hinted) - 1}`)
    assert.equal((await here('check', file)).code, 1)
    await edit(file, `row_length: ${Number(hinted) - 1}`, `row_length: ${hinted}`)
    assert.equal((await here('check', file)).code, 0)
    await edit(file, `row_length: ${hinted}`, 'row_length: auto')
    assert.equal((await here('check', file)).code, 0)
  }))

const oneStep = 'train_steps: 1, learning_rate_scheduler: {warmup_fraction: 0.1}'

test('a schedule whose every step has rate 0 is refused with its line; a longer or an unwarmed one is not', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    await edit(file, 'epochs: 1', oneStep)
    await refused(file, /learning rate is 0 in the one step of this run[^]*job\.yaml:7:\d+/)
    for (const [from, to] of [
      ['warmup_fraction: 0.1', 'warmup_fraction: 0'],
      ['train_steps: 1', 'train_steps: 2'],
    ] as const) {
      await edit(file, from, to)
      assert.equal((await here('check', file)).code, 0, to)
      await edit(file, to, from)
    }
    await edit(file, oneStep, 'epochs: 1')
    await edit(file, 'learning_rate: 0.001', 'learning_rate: 1.0e-60')
    await refused(file, /learning rate 1e-60 is 0 in 32 bits[^]*job\.yaml:7:/)
  }))

test('a base without weights is what training refuses of it, not its data', async () => {
  const { code, err } = await here('train', 'examples/llama-2-7b/llama2_7b_4bit.yaml')
  assert.equal(code, 1)
  assert.match(err, /Llama-2-7b-hf is not in the cache[^]*llama2_7b_4bit\.yaml:\d+:/)
})

/** The rates of all updates, tick by tick as Ludwig's loop has it. */
const ratesOf = (o: {
  readonly rows: number
  readonly batch: number
  readonly group: number
  readonly epochs: number
  readonly share: number
  readonly marks: number
}): ReadonlyArray<number> => {
  const perEpoch = Math.ceil(o.rows / o.batch)
  const warmup = Math.max(o.share * perEpoch * o.epochs, o.marks * perEpoch)
  const rates: Array<number> = []
  for (let tick = 0; tick < perEpoch * o.epochs; tick++) {
    const within = (tick % perEpoch) + 1
    if (within % o.group === 0 || within === perEpoch) rates.push(tick < warmup ? tick / warmup : 1)
  }
  return rates
}

test('what is foreseen of rates is what a tick-by-tick schedule gives', async () =>
  withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const seen = { idle: 0, fine: 0 }
    const some = fc.record({
      rows: fc.integer({ min: 1, max: 5 }),
      batch: fc.integer({ min: 1, max: 3 }),
      group: fc.integer({ min: 1, max: 3 }),
      epochs: fc.integer({ min: 1, max: 2 }),
      share: fc.constantFrom(0, 0.1, 0.5, 0.99),
      marks: fc.constantFrom(0, 1, 7),
    })
    fc.assert(
      fc.property(some, (o) => {
        const text = yaml(
          `  learning_rate_scheduler: { warmup_fraction: ${o.share}, warmup_evaluations: ${o.marks} }`,
        )
          .replace('epochs: 3', `epochs: ${o.epochs}`)
          .replace('batch_size: 2', `batch_size: ${o.batch}`)
          .replace('gradient_accumulation_steps: 2', `gradient_accumulation_steps: ${o.group}`)
        const { config } = right(parseConfig(text, { file: 'job.yaml' }))
        const data = {
          ...plan.data!,
          samples: { train: samplesOf(o.rows), validation: [], test: [] },
        }
        const idle = ratesOf(o).every((r) => r === 0)
        seen[idle ? 'idle' : 'fine']++
        assert.equal(E.isLeft(foresee({ ...plan, config, data })), idle)
      }),
      runs(400),
    )
    assert.ok(seen.idle > 20 && seen.fine > 20, JSON.stringify(seen))
  }))

test('a plan that was made otherwise is refused by training itself', async () =>
  withBase(async (folder) => {
    const plan = planFor(folder, yaml(), undefined, [2, 4])
    const [first] = left(await train(plan, reference, quiet(folder).options)())
    assert.match(first.message, /tokens, and compiler\.row_length is 4/)
    assert.deepEqual((await fs.readdir(folder)).toSorted(), ['base'])
  }))

test('other rows may be longer than those of the run: evaluate lays its own', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder, 'row_length: 32')
    const longer = path.join(folder, 'longer.csv')
    const text = Array.from({ length: 20 }, (_, i) => `word ${i}`).join(' ')
    await fs.writeFile(longer, `instruction,output\nSay ${text},yes\n`)
    const { err } = await here('evaluate', file, '--dataset', longer)
    // The weights that are missing here come after the rows.
    assert.match(err, /safetensors/)
  }))

/** A tokenizer that drops spaces and puts nothing first. */
const bareTokenizer = async (base: string): Promise<void> => {
  const [file, settings] = ['tokenizer.json', 'tokenizer_config.json'].map((n) =>
    path.join(base, n),
  ) as [string, string]
  const json = JSON.parse(await fs.readFile(file, 'utf8')) as Record<string, unknown>
  const normalizer = { type: 'Replace', pattern: { String: ' ' }, content: '' }
  await fs.writeFile(file, JSON.stringify({ ...json, post_processor: null, normalizer }))
  await fs.writeFile(settings, JSON.stringify({ eos_token: '</s>' }))
}

test('a prompt without a token is refused where it would be asked, before the weights', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    await bareTokenizer(path.join(folder, 'base'))
    await edit(file, 'quantization:', 'preprocessing: {split: {type: fixed}}\nquantization:')
    const rows = ['instruction,output,split', 'Add,2,0', 'Say,hi,2', '" ",yes,2']
    await fs.writeFile(path.join(folder, 'data.csv'), `${rows.join('\n')}\n`)
    const sound = await here('check', file)
    assert.equal(sound.code, 0, sound.err)
    for (const args of [
      ['train', file, '--show', '1'],
      ['evaluate', file, '--generate'],
    ]) {
      const { code, err } = await here(...args)
      assert.equal(code, 1)
      assert.match(err, /^error: line 4 of the data has a prompt without a token[^]*data\.csv:4\n/m)
    }
    const asked = await here('generate', file, '--prompt', ' ')
    assert.equal(asked.code, 1)
    assert.match(asked.err, /^error: prompt 1 has no token to begin with/m)
  }))

test('check compares the weights with config.json by their headers', async () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder)
    const base = path.join(folder, 'base')
    await fs.rm(base, { recursive: true })
    await writeModel(base, 1)
    const sound = await here('check', file)
    assert.match(sound.out, /nothing stands in the way of this job/, sound.err)
    for (const [key, was, is, said] of [
      ['intermediate_size', 12, 13, /the tensor model\.layers\.0\.mlp\.\w+\.weight has the shape/],
      ['num_hidden_layers', 1, 2, /the base model has no tensor model\.layers\.1\./],
    ] as const) {
      await edit(path.join(base, 'config.json'), `"${key}":${was}`, `"${key}":${is}`)
      const { code, err } = await here('check', file)
      assert.equal(code, 1)
      assert.match(err, said)
      await edit(path.join(base, 'config.json'), `"${key}":${is}`, `"${key}":${was}`)
    }
  }))
