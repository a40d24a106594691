/** Hints lead out: what a hint says is done, by its words alone, and what comes out is accepted. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { parse as readYaml, stringify } from 'yaml'
import { ludwigKeys } from '../src/config/ludwig/keys.ts'
import type { Known, Refusal } from '../src/config/ludwig/known.ts'
import { ludwigValues } from '../src/config/ludwig/values.ts'
import { sayings, synonyms } from '../src/config/suggest.ts'
import type { Issue } from '../src/issue.ts'
import { base, parse, show } from './config-base.ts'
import { follow, put, type Doc } from './follow.ts'

const least: Doc = {
  model_type: 'llm',
  base_model: 'models/tiny',
  input_features: [{ name: 'instruction', type: 'text' }],
  output_features: [{ name: 'output', type: 'text' }],
  trainer: { type: 'finetune' },
}

const issuesOf = (text: string): ReadonlyArray<Issue> => {
  const parsed = parse(text)
  return E.isLeft(parsed) ? parsed.left : []
}

/** Follows every hint of a config at once. What is left is wrong for want of a hint. */
const followed = (doc: unknown): { readonly hints: number; readonly doc: unknown } => {
  const hinted = issuesOf(stringify(doc)).filter((i) => i.hint !== undefined)
  return { hints: hinted.length, doc: hinted.reduce<unknown>(follow, doc) }
}

/** One round is enough. */
const leadsOut = (doc: unknown, why: string): void => {
  const once = followed(doc)
  assert.ok(
    once.hints > 0,
    `${why}: no hint for\n${stringify(doc)}\n${issuesOf(stringify(doc)).map(show).join('\n')}`,
  )
  const left = issuesOf(stringify(once.doc)).map(show)
  const said = issuesOf(stringify(doc)).map(show).join('\n')
  assert.deepEqual(left, [], `${why}: after\n${said}\nit is\n${stringify(once.doc)}`)
}

/** Values that mean something to keys whose value is taken along. */
const telling: Readonly<Record<string, unknown>> = {
  sequence_length: 9,
  regularization_lambda: 0.01,
  base_learning_rate: 0.001,
  learning_rate_warmup_epochs: 2,
  decay_rate: 0.9,
  lr: 0.001,
  decay_steps: 5,
  staircase: true,
  reduce_learning_rate_on_plateau: 2,
  reduce_learning_rate_on_plateau_patience: 2,
  reduce_learning_rate_on_plateau_rate: 0.2,
  reduce_learning_rate_eval_metric: 'perplexity',
  reduce_learning_rate_eval_split: 'validation',
  max_new_tokens: 9,
  prompt: { template: 'Q: {instruction}' },
  training: { type: 'finetune', epochs: 3 },
  adapters: { a: { type: 'lora' }, b: { type: 'lora' } },
}

interface Row {
  readonly path: ReadonlyArray<string>
  readonly row: Refusal
}

const rowsOf = (known: Known, path: ReadonlyArray<string>): ReadonlyArray<Row> =>
  Object.entries(known).flatMap(([key, row]) =>
    'section' in row
      ? rowsOf(row.section, key.endsWith('_features') ? [...path, key, '0'] : [...path, key])
      : [{ path: [...path, key.replace('*', 'x')], row }],
  )

/** What a section needs to hold before the key under test is put into it. */
const sections: Doc = {
  adapter: { type: 'lora' },
  quantization: { bits: 4 },
  model_parameters: { rope_scaling: { factor: 2 } },
}

/** Keys of an encoder and of labels. */
const labelled = (path: ReadonlyArray<string>): unknown => ({
  ...least,
  model_type: 'ecd',
  input_features: [{ name: 'instruction', type: 'text', encoder: { type: 'llm' } }],
  output_features: [
    { name: 'output', type: path.at(-1) === 'normalization' ? 'number' : 'category' },
  ],
})

const around = (path: ReadonlyArray<string>): unknown => {
  const doc = ['adapter', 'quantization'].includes(path[0]!)
    ? { ...least, adapter: sections['adapter'] }
    : least
  const own = sections[path[0]!]
  const bare = path[0] === 'training' ? put(doc, ['trainer'], undefined) : doc
  return own === undefined || path.length === 1 ? bare : put(bare, [path[0]!], own)
}

test('every key that tunec lacks: its hint is followed, and the file is accepted', () => {
  const rows = rowsOf(ludwigKeys, [])
  assert.ok(rows.length > 150)
  for (const { path, row } of rows) {
    const key = path.at(-1)!
    const probe = telling[key] ?? (path.includes('rope_scaling') ? 'linear' : 'something')
    const doc = put(around(path), path, probe)
    leadsOut(doc, path.join('.'))
    if (row.types === undefined) continue
    for (const type of row.types)
      leadsOut(put(doc, [...path.slice(0, -1), 'type'], type), `${path.join('.')} with ${type}`)
  }
})

test('every value that tunec lacks', () => {
  for (const [dotted, values] of ludwigValues) {
    const path = dotted.split(/\.|\[(\d)\]\.?/).filter((k) => k)
    for (const value of values.keys())
      leadsOut(
        put(path.length > 3 ? labelled(path) : around(path), path, readYaml(value)),
        `${dotted} ${value}`,
      )
  }
})

const values: Readonly<Record<string, unknown>> = {
  'adapter.r': 4,
  'adapter.alpha': 8,
  'adapter.dropout': 0.1,
  'adapter.target_modules': ['q_proj'],
  'trainer.learning_rate_scheduler.warmup_fraction': 0.1,
  'trainer.learning_rate_scheduler.decay': 'linear',
  'trainer.learning_rate': 0.001,
  'trainer.enable_gradient_checkpointing': true,
  'quantization.bnb_4bit_quant_type': 'nf4',
  'quantization.bnb_4bit_compute_dtype': 'float16',
  'quantization.bnb_4bit_use_double_quant': true,
  base_model: 'models/other',
  'compiler.dataset': 'rows.csv',
}

test('every other name of a key, in its section and at the top', () => {
  for (const [word, meant] of synonyms) {
    const path = word.includes('.') ? word.split('.') : [word]
    const home = meant.split('.').slice(0, -1)
    const doc = put(
      put(least, ['adapter'], sections['adapter']),
      ['quantization'],
      sections['quantization'],
    )
    const bare = meant === 'base_model' ? put(doc, ['base_model'], undefined) : doc
    for (const at of path.length > 1 ? [path] : [path, [...home, word]])
      if (!(meant === 'base_model' && at !== path))
        leadsOut(put(bare, at, values[meant] ?? 7), at.join('.'))
  }
  for (const word of sayings.keys()) {
    const probe = word.endsWith('params')
      ? { eps: 1e-7, betas: [0.8, 0.9], weight_decay: 0.1 }
      : word === 'lora'
        ? { r: 4 }
        : true
    leadsOut(
      put(
        put(least, ['adapter'], word === 'lora' ? undefined : { type: 'lora' }),
        word.split('.'),
        probe,
      ),
      word,
    )
  }
})

/** Edits of the fixtures whose remedy needs a mind: what it says is done here. */
const minded: ReadonlyArray<readonly [hint: RegExp, mend: (doc: unknown) => unknown]> = [
  [/name the column that holds it/, (d) => put(d, ['output_features', '0', 'name'], 'answer')],
  [/name a column in braces/, (d) => put(d, ['prompt', 'template'], 'Q: {instruction}')],
  [
    /the output follows the prompt by itself/,
    (d) => put(d, ['prompt', 'template'], '{instruction}'),
  ],
  [/use a fixed-point format/, (d) => put(d, ['prompt', 'template'], '{price:.2f} {{"a"}}')],
  [/put `\{__task__\}` where/, (d) => put(d, ['prompt', 'template'], '{__task__} {instruction}')],
  [
    /write the examples into the template/,
    (d) => put(d, ['prompt', 'template'], '1+1=2 {instruction}'),
  ],
  [/put the text in quotes/, (d) => put(d, ['prompt', 'template'], '{instruction}')],
]

const fixture = (name: string): ReadonlyArray<readonly [name: string, text: string]> =>
  readFileSync(new URL(`fixtures/config/${name}.txt`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n\n')
    .map((block) => {
      const of = (mark: string): string =>
        block
          .split('\n')
          .filter((l) => l.startsWith(mark))
          .map((l) => `${l.slice(1)}\n`)
          .join('')
      return [of('#').trim(), base.replace(of('-'), () => of('+'))]
    })

test('every problem with a hint among the examples of problems', () => {
  let count = 0
  for (const name of ['keys', 'values', 'rules'])
    for (const [title, text] of fixture(name)) {
      const issues = issuesOf(text)
      if (issues.some((i) => i.hint === undefined)) continue
      count++
      const doc = issues.reduce<unknown>((d, i) => {
        const mend = minded.find(([hint]) => hint.test(i.hint!))
        return mend === undefined ? follow(d, i) : mend[1](d)
      }, readYaml(text))
      const left = issuesOf(stringify(doc)).map(show)
      assert.deepEqual(
        left,
        [],
        `${title}: after ${issues.map(show).join('\n')} it is\n${stringify(doc)}`,
      )
    }
  assert.ok(count > 50, `${count} examples`)
})

test('a name for target_modules becomes a list; a pattern is taken as it is', () => {
  const patterns: ReadonlyArray<readonly [pattern: string, list: unknown]> = [
    ['q_proj', ['q_proj']],
    ['self_attn.q_proj', ['self_attn.q_proj']],
    ['.*(q_proj|v_proj)', '.*(q_proj|v_proj)'],
    ['.*\\.(q|v)_proj$', '.*\\.(q|v)_proj$'],
    ['.*(q_proj|v_proj', ['q_proj', 'v_proj']],
  ]
  for (const [pattern, list] of patterns) {
    const { doc } = followed({ ...least, adapter: { type: 'lora', target_modules: pattern } })
    const parsed = parse(stringify(doc))
    assert.ok(E.isRight(parsed), stringify(doc))
    assert.deepEqual(parsed.right.config.adapter!.target_modules, list)
  }
})

test('what belongs to another task is said in one sentence', () => {
  const category = {
    name: 'label',
    type: 'category',
    preprocessing: { fallback_label: 'neutral' },
    decoder: { type: 'category_extractor', match: { a: { type: 'contains', value: 'a' } } },
  }
  const zeroShot = { ...least, output_features: [category], trainer: { type: 'none' } }
  assert.deepEqual(issuesOf(stringify(zeroShot)), [])
  const trained = { ...zeroShot, trainer: { type: 'finetune' } }
  assert.equal(issuesOf(stringify(trained)).length, 1)
  leadsOut(trained, 'a label that is to be learned')
  const extractor = { ...category, type: 'text', preprocessing: undefined }
  const decoded = { ...least, output_features: [extractor] }
  assert.deepEqual(
    issuesOf(stringify(decoded)).map((i) => i.hint),
    ['leave out `decoder`'],
  )
  leadsOut(decoded, 'a decoder')
  const encoded = put(least, ['input_features', '0', 'encoder'], { type: 'bert', trainable: true })
  assert.equal(issuesOf(stringify(encoded)).length, 1)
  leadsOut(encoded, 'an encoder')
  const grpo = {
    ...least,
    trainer: { type: 'grpo', grpo_beta: 0.1, rejected_column: 'no', grpo_epsilon: 0.2 },
  }
  assert.equal(issuesOf(stringify(grpo)).length, 1)
  leadsOut(grpo, 'preference training')
  const ecd = {
    input_features: [
      { name: 'a', type: 'text', encoder: { type: 'bert', trainable: true, adapter: 'lora' } },
      { name: 'b', type: 'number' },
    ],
    output_features: [{ name: 'c', type: 'category', decoder: { top_k: 2 } }],
    combiner: { type: 'concat' },
    trainer: { epochs: 3 },
  }
  for (const file of [ecd, { model_type: 'ecd', ...ecd }, { model_type: 'gbm', ...ecd }]) {
    const [only, ...more] = issuesOf(stringify(file))
    assert.deepEqual(more, [])
    assert.match(only!.message, /tunec fine-tunes language models and nothing else/)
    assert.equal(only!.hint, undefined)
  }
})
