/** Labels as data: what columns become, how rows are split and balanced, and what predictions are worth. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import fc from 'fast-check'
import { csvOf, generate } from '../examples/result-type/generate.ts'
import type { Table } from '../src/data/cell.ts'
import { balanced } from '../src/data/labelled.ts'
import { spreadOut, splitRows } from '../src/data/split.ts'
import { readTargets } from '../src/data/targets.ts'
import { parseConfig } from '../src/config/index.ts'
import { labelOutputs } from '../src/config/outputs.ts'
import { confusion, errorsOf, hitsAt, macroAccuracy, rocAuc, softmax } from '../src/train/scores.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'

const outputsOf = (yaml: string) =>
  labelOutputs(
    right(
      parseConfig(
        `model_type: ecd
input_features: [{name: text, type: text, encoder: {type: llm, base_model: m}}]
output_features: [${yaml}]
`,
        { file: 'job.yaml' },
      ),
    ).config,
  )

const tableOf = (column: string, cells: ReadonlyArray<Table['rows'][number][string]>): Table => ({
  file: 'data.csv',
  columns: [column],
  rows: cells.map((c) => ({ [column]: c })),
  lines: cells.map((_, i) => i + 2),
  separator: ',',
  remarks: [],
})

const read = (yaml: string, cells: ReadonlyArray<Table['rows'][number][string]>) => {
  const rows = cells.map((_, i) => i)
  return readTargets(outputsOf(yaml), tableOf('y', cells), rows, rows)
}

const said = (yaml: string, cells: ReadonlyArray<Table['rows'][number][string]>): string => {
  const r = read(yaml, cells)
  return E.isLeft(r) ? r.left.map((i) => i.message).join('; ') : 'accepted'
}

test('a category: its labels by how often they stand there, an empty cell has none', () => {
  const [r] = right(read('{name: y, type: category}', ['b', 'a', ' a ', null, 'c', 'a', 'b']))
  assert.deepEqual(r!.target.kind === 'category' && r!.target.classes, ['a', 'b', 'c'])
  assert.deepEqual(r!.values, [1, 0, 0, null, 2, 0, 1])
  assert.match(said('{name: y, type: category}', ['a', 'a']), /every row has the label "a"/)
  const weighed = '{name: y, type: category, loss: {class_weights: {a: 2}}}'
  assert.match(said(weighed, ['a', 'b']), /no weight for the label "b"/)
  assert.match(
    said(weighed.replace('a: 2', 'a: 2, b: 1, z: 1'), ['a', 'b']),
    /"z", which is no label/,
  )
})

test('a truth: usual words, or what the config says is true', () => {
  const [r] = right(
    read(
      '{name: y, type: binary}',
      ['yes', 'No', null, 'yes'].map((x) => x),
    ),
  )
  assert.deepEqual(r!.values, [1, 0, null, 1])
  assert.deepEqual(r!.target.kind === 'binary' && r!.target.classes, ['No', 'yes'])
  assert.match(said('{name: y, type: binary}', ['spam', 'ham']), /no usual word/)
  const spam = '{name: y, type: binary, preprocessing: {fallback_true_label: spam}}'
  assert.deepEqual(right(read(spam, ['spam', 'ham']))[0]!.values, [1, 0])
  assert.match(said('{name: y, type: binary}', ['a', 'b', 'c']), /holds 3 values/)
  assert.match(said('{name: y, type: binary}', [true, true]), /every row of the column "y" is true/)
})

test('a number: in its own unit, learned on the scale of the training rows', () => {
  const y = (n: string) => `{name: y, type: number, preprocessing: {normalization: ${n}}}`
  const scales = ['null', 'zscore', 'minmax'].map((n) => {
    const { target } = right(read(y(n), ['1', 3, null, 5]))[0]!
    return target.kind === 'number' ? [target.shift, target.scale] : []
  })
  assert.deepEqual(scales, [
    [0, 1],
    [3, Math.sqrt(8 / 3)],
    [1, 4],
  ])
  assert.match(said(y('null'), ['1', 'many']), /line 3 has "many" in the column "y"/)
})

test('stratify: every split holds a value in its share of the whole, to a row', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom('a', 'b', 'b', 'c', 'c', 'c', 'c'), {
        minLength: 20,
        maxLength: 90,
      }),
      fc.nat(1000),
      (cells, seed) => {
        const rows = cells.map((_, i) => i)
        const spec = { type: 'stratify', column: 'y', probabilities: [0.5, 0.25, 0.25] } as const
        const split = right(splitRows(tableOf('y', cells), rows, spec, seed))
        const all = [...split.train, ...split.validation, ...split.test]
        holds(new Set(all).size === rows.length, 'every row is in one split')
        for (const part of [split.train, split.validation, split.test])
          for (const value of ['a', 'b', 'c']) {
            const share = (cells.filter((c) => c === value).length * part.length) / cells.length
            const here = part.filter((row) => cells[row] === value).length
            holds(Math.abs(here - share) < 2, `${here} of ${value} for ${share}`)
          }
      },
    ),
    { numRuns: 60 },
  )
  assert.deepEqual(
    spreadOut([0, 1, 2, 3, 4, 5], (row) => (row < 4 ? 'x' : 'y')),
    [0, 4, 1, 2, 5, 3],
  )
})

test('balancing draws of the rarer class, or keeps fewer of the commoner one; no row changes', () => {
  const rows = [1, 0, 0, 0, 0, 0, 1, 0, 0, 0].map((label, row) => ({
    row,
    prompt: [row],
    target: [],
    labels: [label],
  }))
  const count = (all: typeof rows | ReturnType<typeof balanced>, label: number) =>
    all.filter((s) => s.labels?.[0] === label).length
  const more = balanced(rows, { oversample: 0.75, undersample: null }, 7)
  assert.deepEqual([count(more, 0), count(more, 1)], [8, 6])
  const fewer = balanced(rows, { oversample: null, undersample: 0.5 }, 7)
  assert.deepEqual([count(fewer, 0), count(fewer, 1)], [4, 2])
  assert.equal(new Set(fewer.map((s) => s.row)).size, 6)
  for (const s of [...more, ...fewer]) assert.deepEqual(s, rows[s.row])
  assert.deepEqual(balanced(rows, { oversample: 0.75, undersample: null }, 7), more)
})

const scores = fc.array(fc.tuple(fc.integer({ min: 0, max: 6 }), fc.boolean()), {
  minLength: 2,
  maxLength: 30,
})

test('ROC-AUC is the share of pairs in order, ties half', () => {
  fc.assert(
    fc.property(scores, (all) => {
      const pairs = all.flatMap(([a, p]) => all.flatMap(([b, q]) => (p && !q ? [[a, b]] : [])))
      const won = pairs.reduce((s, [a, b]) => s + (a! > b! ? 1 : a === b ? 0.5 : 0), 0)
      const auc = rocAuc(
        all.map(([s]) => s),
        all.map(([, p]) => p),
      )
      holds(
        pairs.length === 0 ? !Number.isFinite(auc) : Math.abs(auc - won / pairs.length) < 1e-12,
        `${auc} for ${won}/${pairs.length}`,
      )
    }),
  )
})

test('accuracy by class, hits at k, errors of numbers: by hand', () => {
  const matrix = confusion(3, [0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 1, 0])
  assert.deepEqual(matrix, [
    [1, 1, 0],
    [1, 3, 0],
    [0, 0, 0],
  ])
  assert.equal(macroAccuracy(matrix), (1 / 2 + 3 / 4) / 2)
  const p = [
    [0.5, 0.3, 0.2],
    [0.2, 0.2, 0.6],
  ]
  assert.deepEqual(
    [1, 2, 3].map((k) => hitsAt(k, p, [1, 1])),
    [0, 0.5, 1],
  )
  const e = errorsOf([1, 2, 6], [1, 4, 4])
  assert.deepEqual(
    [e.mean_squared_error, e.mean_absolute_error, e.root_mean_squared_error, e.r2],
    [8 / 3, 4 / 3, Math.sqrt(8 / 3), 1 - 8 / 6],
  )
  assert.deepEqual(softmax([1000, 1000]), [0.5, 0.5])
})

test('the bundled job: its data is what the generator makes, its four configs are accepted', () => {
  const folder = path.join(import.meta.dirname, '../examples/result-type')
  assert.equal(fs.readFileSync(path.join(folder, 'data.csv'), 'utf8'), csvOf(generate(1)))
  const configs = ['full', 'lora', 'qlora', 'frozen'].map((way) => {
    const text = fs.readFileSync(path.join(folder, `${way}.yaml`), 'utf8')
    return right(parseConfig(text, { file: `${way}.yaml` })).config
  })
  assert.deepEqual(
    configs.map((c) => [
      c.adapter !== null,
      c.quantization !== null,
      c.input_features[0].encoder!.trainable,
      c.input_features[0].preprocessing.cache_encoder_embeddings,
    ]),
    [
      [false, false, true, false],
      [true, false, true, false],
      [true, true, true, false],
      [false, false, false, true],
    ],
  )
})

/** As Ludwig ships them: examples/llm_finetuning/imdb_deepspeed_zero3.yaml, and its guide to classification with LLMs. */
const shipped = [
  `input_features:
  - name: review
    type: text
    encoder:
      type: auto_transformer
      pretrained_model_name_or_path: bigscience/bloom-3b
      trainable: true
      adapter: lora

output_features:
  - name: sentiment
    type: category

trainer:
  batch_size: 4
  epochs: 3
  gradient_accumulation_steps: 8

backend:
  type: deepspeed
  zero_optimization:
    stage: 3
    offload_optimizer:
      device: cpu
      pin_memory: true
`,
  `model_type: ecd
input_features:
  - name: title
    type: text
    encoder:
      type: llm
      adapter:
        type: lora
      base_model: meta-llama/Llama-2-7b-hf
      quantization:
        bits: 4
    column: title
output_features:
  - name: class
    type: category
    column: class
trainer:
  epochs: 3
`,
]

test('classifiers that Ludwig ships are read as they stand, and mean an encoder with its adapter', () => {
  for (const text of shipped) {
    const { config } = right(parseConfig(text, { file: 'job.yaml' }))
    assert.equal(config.model_type, 'ecd')
    assert.equal(config.adapter?.type, 'lora')
    assert.equal(config.input_features[0].encoder?.trainable, true)
    assert.equal(config.input_features[0].preprocessing.max_sequence_length, 256)
    // What a run writes down of it is read again as the same.
    const again = right(parseConfig(JSON.stringify(config), { file: 'description.json' }))
    assert.deepEqual(again.config, config)
  }
})
