/** A whole run that predicts labels, on a tiny model: heads come back from its results, and cached vectors are the encoder's. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { heads, lora } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { parseConfig } from '../src/config/index.ts'
import { classifier } from '../src/models/labels.ts'
import { planOf, type Plan } from '../src/plan/plan.ts'
import { readMeaning } from '../src/train/heads.ts'
import { train, type TrainResult } from '../src/train/train.ts'
import { inFolder } from './cli-child.ts'
import { writeModel } from './effects-job.ts'
import { right } from './right.ts'

const yaml = (encoder: string, cached = false): string => `model_type: ecd
input_features:
  - name: text
    type: text
    encoder: {type: llm, base_model: base, ${encoder}}
    preprocessing: {cache_encoder_embeddings: ${cached}}
output_features:
  - {name: kind, type: category, loss: {class_weights: {a: 1, b: 2, c: 1}}}
  - {name: even, type: binary}
  - {name: size, type: number, preprocessing: {normalization: zscore}}
trainer: {epochs: 2, batch_size: 4, learning_rate: 0.05}
preprocessing: {split: {type: stratify, column: kind, probabilities: [0.5, 0.25, 0.25]}}
compiler: {dataset: data.csv, compute_dtype: float32}
`

const write = async (folder: string): Promise<void> => {
  await writeModel(path.join(folder, 'base'), 3)
  const rows = Array.from(
    { length: 24 },
    (_, i) => `${'abc'[i % 3]!.repeat(1 + (i % 5))} ${i},${'abc'[i % 3]},${i % 2 === 0},${i % 5}`,
  )
  await fs.writeFile(path.join(folder, 'data.csv'), `text,kind,even,size\n${rows.join('\n')}\n`)
}

const planned = (folder: string, text: string): Plan =>
  right(planOf(right(parseConfig(text, { file: 'job.yaml' })).config, { folder, clock: () => 0 }))

const trained = async (folder: string, plan: Plan): Promise<TrainResult<never>> =>
  right(
    await train<never>(plan, reference, {
      resultsFolder: path.join(folder, 'results'),
      experimentName: 'run',
      embeddingsFolder: path.join(folder, 'vectors'),
      onEvent: () => {},
      stop: () => false,
      clock: () => performance.now(),
    })(),
  )

const roles = (p: Program, role: string): ReadonlyArray<string> =>
  p.state.flatMap((s) => (s.role === role ? [s.name] : []))

test('a frozen encoder that reads each row once trains the same heads as one that reads in every step', () =>
  inFolder(async (folder) => {
    await write(folder)
    const plain = await trained(folder, planned(folder, yaml('trainable: false')))
    const first = await trained(folder, planned(folder, yaml('trainable: false', true)))
    const again = await trained(folder, planned(folder, yaml('trainable: false', true)))
    assert.deepEqual([first.encoded!.computed, again.encoded!.computed], [24, 0])
    assert.equal(first.encoded!.reads, 2 * 12 + 2 * 6 + 6)
    assert.equal(plain.encoded, null)
    for (const cached of [first, again])
      for (const [name, x] of Object.entries(plain.metrics.test!))
        assert.ok(Math.abs(cached.metrics.test![name]! - x!) < 1e-3, `${name}: ${x}`)
    // Another text is another key; the others are found.
    const rows = await fs.readFile(path.join(folder, 'data.csv'), 'utf8')
    await fs.writeFile(path.join(folder, 'data.csv'), rows.replace('a 0,', 'aa 0,'))
    const changed = await trained(folder, planned(folder, yaml('trainable: false', true)))
    assert.equal(changed.encoded!.computed, 1)
  }))

test('beside an adapter: metrics by feature, files by their names, heads that say what they predict', () =>
  inFolder(async (folder) => {
    await write(folder)
    const plan = planned(folder, yaml('adapter: {type: lora, r: 2}'))
    const r = await trained(folder, plan)
    for (const name of ['loss', 'kind.accuracy', 'kind.roc_auc', 'even.roc_auc', 'size.r2'])
      assert.ok(r.metrics.test![name] !== undefined, name)
    const text = await fs.readFile(path.join(r.resultsFolder, 'training_statistics.json'), 'utf8')
    const { validation } = JSON.parse(text) as { validation: Record<string, object> }
    assert.deepEqual(Object.keys(validation), ['kind', 'even', 'size', 'combined'])
    const read = right(await readMeaning(r.resultsFolder, plan.config)())
    assert.deepEqual(read, plan.data!.targets)
    assert.deepEqual(await fs.readdir(path.join(r.resultsFolder, 'model', 'heads')), [
      'SHA256SUMS',
      'heads.json',
      'heads.safetensors',
    ])
  }))

test('the pass heads: alone nothing else is trained; beside an adapter the two are', () =>
  inFolder(async (folder) => {
    await write(folder)
    const { base, shapes } = planned(folder, yaml('trainable: false'))
    const forward = right(classifier('m', base.spec, shapes, base.labels!))
    const [own, all] = [
      ['kind.weight', 'kind.bias', 'even.weight', 'even.bias', 'size.weight', 'size.bias'],
      roles(forward, 'train'),
    ]
    const named = own.map((n) => `heads.${n}`)
    const alone = right(compile([heads({ alone: true })])(forward)).program
    assert.deepEqual(roles(alone, 'train').toSorted(), named.toSorted())
    assert.equal(roles(alone, 'frozen').length, all.length - named.length)
    const adapter = lora({ r: 2, alpha: 4, dropout: 0, targets: ['q_proj'] })
    const beside = right(compile([adapter, heads({ alone: false })])(forward)).program
    const low = roles(beside, 'train').filter((n) => n.includes('lora_'))
    assert.equal(low.length, 2 * base.spec.layers)
    assert.equal(roles(beside, 'train').length, low.length + named.length)
    const twice = right(compile([heads({ alone: true }), heads({ alone: true })])(forward)).program
    assert.deepEqual(twice, alone)
  }))
