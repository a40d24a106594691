/** Keys and columns of preference training: Ludwig's words and TRL's, what goes with what, and that each key does something. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { stringify } from 'yaml'
import { parseConfig } from '../src/config/index.ts'
import { preferenceOf } from '../src/preference/preference.ts'
import { here, inFolder } from './cli-child.ts'
import { differs, observe, writeModel } from './effects-job.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'

const job = (trainer: Readonly<Record<string, unknown>>, more = {}) => ({
  model_type: 'llm',
  base_model: 'base',
  input_features: [{ name: 'prompt', type: 'text' }],
  output_features: [{ name: 'chosen', type: 'text' }],
  adapter: { type: 'lora', r: 2, dropout: 0 },
  preprocessing: { split: { type: 'random', probabilities: [0.5, 0.25, 0.25] } },
  trainer: { epochs: 1, batch_size: 2, learning_rate: 0.1, ...trainer },
  generation: { max_new_tokens: 2 },
  compiler: { dataset: 'data.csv' },
  ...more,
})

const read = (doc: unknown) => parseConfig(stringify(doc), { file: 'job.yaml' })
const problems = (doc: unknown): string => {
  const parsed = read(doc)
  return E.isLeft(parsed) ? parsed.left.map((i) => `${i.path}: ${i.message}`).join('\n') : ''
}

test('Ludwig’s names with the type before them are those of its examples', () => {
  const long = { type: 'dpo', dpo_beta: 0.3, dpo_loss_type: 'ipo', dpo_label_smoothing: 0 }
  const short = { type: 'dpo', beta: 0.3, loss_type: 'ipo', label_smoothing: 0 }
  assert.deepEqual(right(read(job(long))).config, right(read(job(short))).config)
  for (const type of ['kto', 'orpo']) {
    const { trainer } = right(read(job({ type, [`${type}_beta`]: 0.2 }))).config
    assert.equal(preferenceOf(trainer)!.loss.beta, 0.2)
  }
  assert.match(problems(job({ ...long, beta: 0.3 })), /both `dpo_beta` and `beta` are given/)
  assert.match(problems(job({ type: 'finetune', dpo_beta: 0.3 })), /unknown key `dpo_beta`/)
})

/** In the form of Ludwig's `examples/alignment`. */
const shipped = (type: string, output: string, more: Readonly<Record<string, unknown>>) => ({
  model_type: 'llm',
  base_model: 'meta-llama/Llama-3.1-8B',
  adapter: { type: 'lora', r: 16, alpha: 32, dropout: 0.05 },
  trainer: {
    type,
    epochs: 1,
    learning_rate: 5e-7,
    batch_size: 2,
    gradient_accumulation_steps: 8,
    ...more,
  },
  input_features: [{ name: 'prompt', type: 'text' }],
  output_features: [{ name: output, type: 'text' }],
  backend: { type: 'local' },
})

test('files as Ludwig ships them are taken as they stand, but for grpo', () => {
  const weights = { desirable_weight: 1, undesirable_weight: 1 }
  for (const doc of [
    shipped('dpo', 'chosen', { beta: 0.1 }),
    shipped('kto', 'response', { beta: 0.1, ...weights }),
    shipped('orpo', 'chosen', {}),
  ]) {
    assert.equal(problems(doc), '')
    holds(preferenceOf(right(read(doc)).config.trainer)!.loss.beta === 0.1)
  }
  const keys = { grpo_beta: 0.04, grpo_epsilon: 0.2, grpo_num_generations: 4 }
  const grpo = shipped('grpo', 'output', { ...keys, rejected_column: 'rejected' })
  assert.match(problems(grpo), /^trainer.type: Ludwig knows `grpo` for `trainer.type`; [^\n]*$/)
})

test('what a file does not say is what Ludwig and TRL take', () => {
  const of = (type: string) => right(read(job({ type }))).config.trainer
  assert.deepEqual(preferenceOf(of('dpo')), {
    loss: { _tag: 'dpo', link: 'sigmoid', beta: 0.1, smoothing: 0 },
    desirable: 1,
    undesirable: 1,
  })
  assert.equal(of('dpo').rejected_column, 'rejected')
  assert.equal(of('kto').label_column, 'label')
  assert.equal(of('kto').rejected_column, null)
  assert.equal(preferenceOf(of('finetune')), null)
})

test('keys that do not go with the type, the loss or the data are refused by name', () => {
  const table: ReadonlyArray<readonly [Readonly<Record<string, unknown>>, RegExp]> = [
    [{ type: 'finetune', beta: 0.1 }, /trainer.beta: beta is used only with `type: dpo`, `kto`/],
    [{ type: 'kto', rejected_column: 'bad' }, /rejected_column is used only with/],
    [{ type: 'dpo', desirable_weight: 2 }, /desirable_weight is used only with `type: kto`/],
    [{ type: 'orpo', loss_type: 'ipo' }, /loss_type is used only with `type: dpo`/],
    [{ type: 'dpo', loss_type: 'hinge', label_smoothing: 0.1 }, /hinge has no label smoothing/],
    [{ type: 'dpo', rejected_column: 'chosen' }, /which is the output's column/],
    [{ type: 'dpo', validation_metric: 'perplexity' }, /perplexity is no metric of chosen/],
    [
      { type: 'finetune', validation_metric: 'reward_margin' },
      /reward_margin is no metric of chosen/,
    ],
    [{ type: 'dpo', beta: 0 }, /expected|beta/],
    [{ type: 'grpo' }, /Ludwig knows `grpo`/],
  ]
  for (const [trainer, pattern] of table) assert.match(problems(job(trainer)), pattern)
  const shown = job({ type: 'dpo' }, { prompt: { template: '{prompt} {rejected}' } })
  assert.match(problems(shown), /the template shows `\{rejected\}`/)
  const category = job({ type: 'dpo' }, { output_features: [{ name: 'chosen', type: 'category' }] })
  assert.match(problems(category), /dpo compares answers that a language model writes/)
})

const bad = (i: number): string => (i === 3 ? '' : `no ${(i * 7) % 5}`)

const writeJob = async (folder: string): Promise<void> => {
  await writeModel(path.join(folder, 'base'), 3)
  const rows = Array.from({ length: 12 }, (_, i) =>
    [`say ${i}`, `yes ${i}`, bad(i), i % 3 > 0, i % 2, `other ${i}`].join(),
  )
  const text = `prompt,chosen,rejected,label,second,third\n${rows.join('\n')}\n`
  await fs.writeFile(path.join(folder, 'data.csv'), text)
}

test('every key of every type changes what is trained or what is said', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    const cases: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
      dpo: { beta: 0.5, loss_type: 'hinge', label_smoothing: 0.2, rejected_column: 'third' },
      orpo: { beta: 0.5, rejected_column: 'third' },
      kto: { beta: 0.5, label_column: 'second', desirable_weight: 2, undesirable_weight: 2 },
    }
    for (const [type, keys] of Object.entries(cases)) {
      const before = observe(folder, job({ type }))
      assert.ok(before.view !== null, before.said)
      for (const [key, value] of Object.entries(keys)) {
        const after = observe(folder, job({ type, [key]: value }))
        assert.ok(after.view !== null, after.said)
        holds(await differs(before, after), `${type} ${key}`)
      }
    }
  }))

test('columns that are missing and labels that say nothing are named with their lines', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    const said = (trainer: Readonly<Record<string, unknown>>) => observe(folder, job(trainer)).said
    assert.match(said({ type: 'dpo', rejected_column: 'worse' }), /no column "worse"/)
    assert.match(said({ type: 'kto', label_column: 'third' }), /line 2 .*"third".* neither true/)
    await fs.writeFile(
      path.join(folder, 'data.csv'),
      `prompt,chosen,label\n${'a,b,yes\n'.repeat(12)}`,
    )
    assert.match(said({ type: 'kto' }), /every training row has true in "label"/)
  }))

test('evaluate compares what was tuned with its base, as the run did', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    for (const type of ['dpo', 'kto', 'orpo']) {
      const file = path.join(folder, `${type}.yaml`)
      const compiler = { dataset: 'data.csv', backend: 'reference' }
      await fs.writeFile(file, stringify(job({ type }, { compiler })))
      const results = path.join(folder, type)
      const ran = await here('train', file, '--output-directory', results)
      assert.equal(ran.code, 0, ran.err)
      const run = path.join(results, 'experiment_run')
      const statistics = path.join(run, 'training_statistics.json')
      const { test: last } = JSON.parse(await fs.readFile(statistics, 'utf8')) as {
        readonly test: { readonly chosen: Readonly<Record<string, readonly [number]>> }
      }
      const { code, out, err } = await here('evaluate', run, '--json', '--backend', 'reference')
      assert.equal(code, 0, err)
      const seen = JSON.parse(out) as Readonly<Record<string, number>>
      for (const [name, [value]] of Object.entries(last.chosen))
        assert.ok(Math.abs(seen[name]! - value) < 1e-5, `${type} ${name} ${seen[name]} ${value}`)
      holds('reward_accuracy' in seen)
    }
  }))

test('a row without a worse answer is left out and told of', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    const { view } = observe(folder, job({ type: 'dpo' }))
    const [, samples] = JSON.parse(await view!(0)) as [unknown, Record<string, unknown[]>]
    assert.equal(Object.values(samples).flat().length, 11)
  }))
