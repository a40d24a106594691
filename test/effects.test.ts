/** Every accepted key is changed, in every context, and changes plan, run, output or a notice, or is refused. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { isDeepStrictEqual } from 'node:util'
import { supported } from '../src/config/suggest.ts'
import { inFolder } from './cli-child.ts'
import { differs, observe, writeModel } from './effects-job.ts'
import { others } from './effects-values.ts'
import { get, put, type Doc } from './follow.ts'

const base: Doc = {
  model_type: 'llm',
  base_model: 'base',
  input_features: [{ name: 'instruction', type: 'text' }],
  output_features: [{ name: 'output', type: 'text' }],
  prompt: { template: 'Q: {instruction} A:' },
  preprocessing: { split: { type: 'random', probabilities: [0.5, 0.25, 0.25] } },
  adapter: { type: 'lora', r: 2, target_modules: ['q_proj', 'v_proj'] },
  quantization: { bits: 4 },
  model_parameters: { rope_scaling: { rope_type: 'linear', factor: 2 } },
  trainer: {
    type: 'finetune',
    epochs: 3,
    batch_size: 2,
    gradient_accumulation_steps: 2,
    learning_rate: 0.5,
    optimizer: { type: 'adamw', weight_decay: 0.1 },
    learning_rate_scheduler: { decay: 'cosine', t_0: 2, warmup_fraction: 0.1 },
  },
  generation: { max_new_tokens: 3, temperature: 1 },
  compiler: { dataset: 'data.csv' },
}

const pathOf = (key: string): ReadonlyArray<string> => key.split(/\.|\[(\d)\]\.?/).filter((k) => k)

const changed = (doc: unknown, changes: Readonly<Record<string, unknown>>): unknown =>
  Object.entries(changes).reduce((d, [key, value]) => put(d, pathOf(key), value), doc)

/** Where a key may mean nothing because of another one. */
const contexts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'as it is': {},
  'no template, fixed split, greedy answers': {
    'prompt.template': undefined,
    'preprocessing.split': { type: 'fixed' },
    'generation.do_sample': false,
    'generation.temperature': undefined,
  },
  'a task, steps, one candidate': {
    'prompt.template': undefined,
    'prompt.task': 'answer',
    'trainer.epochs': undefined,
    'trainer.train_steps': 8,
    'generation.top_k': 1,
    'generation.temperature': undefined,
  },
  'no evaluation, linear decay': {
    'trainer.skip_all_evaluation': true,
    'trainer.learning_rate_scheduler': { decay: 'linear', warmup_fraction: 0.1 },
  },
  'the whole sample beside another in 8 bits, few evaluated, no decay': {
    'prompt.template': '{__context__} Q: {__sample__}',
    'prompt.retrieval': { type: 'random' },
    quantization: { bits: 8 },
    'trainer.eval_steps': 1,
    'trainer.learning_rate_scheduler': undefined,
  },
  'full fine-tuning, batches chosen': {
    adapter: undefined,
    quantization: undefined,
    'trainer.batch_size': 'auto',
    'trainer.max_batch_size': 2,
    'trainer.gradient_accumulation_steps': undefined,
  },
}

/** The same job with a head that predicts a label; the encoder's own keys stand where those of a language model do. */
const labels: Readonly<Record<string, unknown>> = {
  model_type: 'ecd',
  'input_features[0].encoder': { type: 'llm' },
  'output_features[0]': { name: 'kind', type: 'category' },
  generation: undefined,
}

/** A label read out of what the model writes; nothing is trained. */
const extracted: Readonly<Record<string, unknown>> = {
  'output_features[0]': { name: 'kind', type: 'category', preprocessing: { fallback_label: 'x' } },
  adapter: undefined,
  trainer: { type: 'none' },
}

const labelContexts: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  'a label in an answer': extracted,
  'a category beside an adapter': labels,
  'a number, all weights trained': {
    ...labels,
    'output_features[0]': { name: 'number', type: 'number' },
    adapter: undefined,
    quantization: undefined,
  },
  'a truth over a frozen encoder': {
    ...labels,
    'output_features[0]': {
      name: 'even',
      type: 'binary',
      preprocessing: { fallback_true_label: 'third' },
    },
    'input_features[0].encoder': { type: 'llm', trainable: false },
    adapter: undefined,
    quantization: undefined,
    'preprocessing.split': { type: 'stratify', column: 'even', probabilities: [0.5, 0.25, 0.25] },
  },
}

/** Metrics that choose the same of three evaluations, and a third that is the best: other contexts tell them apart. */
const undecided = [
  'a task, steps, one candidate: trainer.validation_metric',
  'the whole sample beside another in 8 bits, few evaluated, no decay: trainer.validation_metric',
  'full fine-tuning, batches chosen: trainer.early_stop',
  'a number, all weights trained: trainer.early_stop',
]

const writeJob = async (folder: string): Promise<void> => {
  await writeModel(path.join(folder, 'base'), 3)
  await writeModel(path.join(folder, 'other'), 4)
  const rows = (offset: number): string => {
    const lines = Array.from({ length: 12 }, (_, i) => {
      const [n, part] = [i + offset, i < 6 ? 0 : i < 9 ? 1 : 2]
      return `Say ${'many '.repeat(i % 3)}${n},${n === 5 ? 'NA' : 2 * n},about ${n % 4},${part},${(part + 1) % 3},${n === 5 ? 'NA' : `${n},${n % 3 === 0 ? 'third' : 'whole'},about ${n % 4}`}${n === 5 ? ',NA,NA' : ''}`
    })
    return `instruction,output,topic,split,part,number,even,kind\n${lines.join('\n')}\n`
  }
  await fs.writeFile(path.join(folder, 'data.csv'), rows(0))
  await fs.writeFile(path.join(folder, 'other.csv'), rows(1))
}

const leaves = supported
  .map(({ section, key }) => (section === '' ? key : `${section}.${key}`))
  .filter((key, _, all) => !all.some((k) => k.startsWith(`${key}.`) || k.startsWith(`${key}[`)))

test('the table names every key of the config and no other', () =>
  assert.deepEqual(Object.keys(others).toSorted(), leaves.toSorted()))

test('every key has an effect or a notice in every context', async () =>
  inFolder(async (folder) => {
    await writeJob(folder)
    const idle: Array<string> = []
    for (const [name, changes] of Object.entries({ ...contexts, ...labelContexts })) {
      const doc = changed(base, changes)
      const before = observe(folder, doc)
      assert.ok(before.view !== null, `${name}: ${before.said}`)
      for (const [key, value] of Object.entries(others)) {
        if (isDeepStrictEqual(get(doc, pathOf(key)), value)) continue
        const after = observe(folder, put(doc, pathOf(key), value))
        const noted = after.notices.some((n) => n.includes(key.split('.').at(-1)!))
        if (!noted && !(await differs(before, after))) idle.push(`${name}: ${key}`)
      }
    }
    assert.deepEqual(
      idle.filter((i) => !undecided.includes(i)),
      [],
    )
  }))
