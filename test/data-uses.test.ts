/** Only what a job uses can refuse it, a column is named in one way, and the text of a file stays what it is. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { parseConfig } from '../src/config/index.ts'
import type { Issues } from '../src/issue.ts'
import { readSpec } from '../src/models/spec.ts'
import { prepareDataset, type Dataset } from '../src/plan/dataset.ts'
import { inFolder } from './cli-child.ts'
import { right } from './right.ts'

const base = path.join(import.meta.dirname, '../examples/code-instructions/base')
const spec = right(readSpec(JSON.parse(fs.readFileSync(path.join(base, 'config.json'), 'utf8'))))

/** The data set that a job makes of a file. */
const prepare = (
  name: string,
  content: string,
  { input = 'instruction', output = 'output', more = '', compiler = '' } = {},
): Promise<E.Either<Issues, Dataset>> =>
  inFolder(async (folder) => {
    const file = path.join(folder, name)
    fs.writeFileSync(file, content)
    const quote = JSON.stringify
    const yaml = [
      'model_type: llm',
      'base_model: base',
      `input_features: [{name: ${quote(input)}, type: text}]`,
      `output_features: [{name: ${quote(output)}, type: text}]`,
      more.includes('preprocessing')
        ? ''
        : 'preprocessing: {split: {type: random, probabilities: [1, 0, 0]}}',
      'adapter: {type: lora}',
      'trainer: {type: finetune}',
      `compiler: {dataset: ${quote(name)}${compiler}}`,
      more,
    ]
    const { config } = right(parseConfig(yaml.join('\n'), { file: 'job.yaml' }))
    return prepareDataset(config, file, base, spec)
  })

const texts = (data: Dataset) => data.texts.map(({ prompt, target }) => [prompt, target])

test('a column is found by its name in the file and by its sanitised one, in features, templates and splits', async () => {
  const csv = '"Question (user)","Answer: short",to.use\na,5,0\nb,6,1\n'
  const split = (column: string) => `preprocessing: {split: {type: fixed, column: ${column}}}`
  const jobs = [
    { input: 'Question (user)', output: 'Answer: short' },
    { input: 'Question _user_', output: 'Answer_ short' },
    { input: 'q', output: 'Answer: short', more: 'prompt: {template: "{Question (user)}"}' },
    { input: 'q', output: 'Answer_ short', more: 'prompt: {template: "{Question _user_}"}' },
    { input: 'Question (user)', output: 'Answer: short', more: split('to.use') },
    { input: 'Question (user)', output: 'Answer: short', more: split('to_use') },
  ]
  for (const job of jobs) {
    const data = right(await prepare('a.csv', csv, job))
    assert.deepEqual(
      texts(data),
      [
        ['a', '5'],
        ['b', '6'],
      ],
      JSON.stringify(job),
    )
    assert.equal(data.split.validation.length, job.more?.startsWith('pre') ? 1 : 0)
  }
})

test('a template that names a column as str.format cannot is told how, and that is accepted', async () => {
  const csv = 'Ask: it,to.ask,output\na,b,c\n'
  const refused = (template: string) => {
    const yaml = `model_type: llm\nbase_model: base\nprompt: {template: ${JSON.stringify(template)}}
input_features: [{name: q, type: text}]\noutput_features: [{name: output, type: text}]\ntrainer: {type: finetune}`
    const got = parseConfig(yaml, { file: 'job.yaml' })
    assert.ok(E.isLeft(got), template)
    return /is written `([^`]+)`/.exec(`${got.left[0].message} ${got.left[0].hint}`)?.[1]
  }
  for (const [template, prompt] of [
    ['{Ask: it}', 'a'],
    ['{to.ask}', 'b'],
  ] as const) {
    const hint = refused(template)
    const more = `prompt: {template: ${JSON.stringify(hint)}}`
    const data = right(await prepare('a.csv', csv, { input: 'q', more }))
    assert.deepEqual(texts(data), [[prompt, 'c']])
  }
})

test('an output feature and the validation field that names it are one', () => {
  const yaml = (field: string) =>
    [
      'model_type: llm',
      'base_model: base',
      'input_features: [{name: "to.ask", type: text}]',
      'output_features: [{name: "Answer: short", type: text}]',
      `trainer: {type: finetune, validation_field: ${JSON.stringify(field)}}`,
    ].join('\n')
  for (const field of ['Answer: short', 'Answer_ short']) {
    const { config } = right(parseConfig(yaml(field), { file: 'job.yaml' }))
    assert.equal(config.output_features[0].name, 'Answer_ short')
    assert.equal(config.input_features[0].name, 'to_ask')
    assert.equal(config.trainer.validation_field, 'Answer_ short')
  }
  assert.ok(E.isLeft(parseConfig(yaml('Answer'), { file: 'job.yaml' })))
})

test('nested values keep their numbers, their keys in order, and a key given twice is told', async () => {
  const jsonl = [
    '{"instruction": "a", "output": {"name": "refund", "order_id": 1413617112501850121, "amount": 10.0, "eps": 1e-7, "big": 1e21}}',
    '{"instruction": "b", "output": {"10": "b", "2": "\\u0061"}}',
    '{"instruction": "c", "output": [9007199254740993, 0.10, {"x": []}]}',
    '{"instruction": "d", "output": {"a": 1, "b": {"c": 1 , "c": 2}}}',
    '{"instruction": "e", "output": 1413617112501850123}',
  ]
  const expected = [
    '{"name":"refund","order_id":1413617112501850121,"amount":10.0,"eps":1e-7,"big":1e21}',
    '{"10":"b","2":"a"}',
    '[9007199254740993,0.10,{"x":[]}]',
    '{"a":1,"b":{"c":1,"c":2}}',
    '1413617112501850123',
  ]
  const files = [
    ['a.jsonl', jsonl.join('\n')],
    ['a.json', `[${jsonl.join(',\n')}]`],
  ] as const
  for (const [name, text] of files) {
    const data = right(await prepare(name, text))
    assert.deepEqual(
      data.texts.map(({ target }) => target),
      expected,
    )
    assert.deepEqual(data.table.remarks, [
      { column: 'output', row: 3, kind: 'repeated', text: '"c"' },
    ])
    const ids = data.samples.train.find(({ row }) => row === 0)!.target
    assert.match(data.tokenizer.decode(ids), /1413617112501850121.*10\.0/)
  }
})

/** A row with a good prompt and answer and some other member. */
const beside = (member: string) => `{${member}, "instruction": "a", "output": "b"}`

test('what is wrong in a column that is not used refuses nothing', async () => {
  const odd = [
    '"id": 1413617112501850121',
    '"id": 1e999',
    '"id": 007',
    '"id": NaN',
    '"id": \'x\'',
    '"id": "\\x"',
    '"id": {"a": [}, "b": 1}',
    '"id": ',
    '"id": 1, "id": 2',
    '"a.b": 1, "a:b": 2',
  ]
  for (const member of odd) {
    for (const text of [`${beside(member)}\n`, `[${beside(member)}]`]) {
      const data = await prepare(text.startsWith('[') ? 'a.json' : 'a.jsonl', text)
      assert.deepEqual(texts(right(data)), [['a', 'b']], text)
    }
  }
  assert.ok(E.isRight(await prepare('a.json', '{"instruction": ["a"], "output": ["b"], "id": 7}')))
  assert.ok(E.isRight(await prepare('a.csv', 'id,id,instruction,output\n1,2,a,b\n')))
})

test('the same in a column that is used is refused with line, column and cause', async () => {
  const bad = async (member: string) => {
    const got = await prepare('a.jsonl', `{"instruction": "a", "output": "b"}\n${beside(member)}`, {
      more: 'prompt: {template: "{instruction} {id}"}',
    })
    assert.ok(E.isLeft(got), member)
    assert.equal(got.left.length, 1)
    assert.equal(got.left[0].line, 2)
    return got.left[0].message
  }
  assert.match(await bad('"id": 007'), /value of "id" that is not valid JSON: `007`$/)
  assert.match(await bad('"id": {"a": [}, "b": 1}'), /value of "id" that is not valid JSON/)
  assert.match(await bad('"id": 1, "id": 2'), /value of "id" that stands there twice/)
  assert.match(await bad('"id": 1e999'), /value of "id" that is a number beyond/)
})

test('cells apart by another separator are recognised by the columns that are used', async () => {
  for (const separator of [';', '\t', '|', ',']) {
    const text = [
      ['id', 'instruction', 'output'],
      ['1', '"a,;|"', 'b'],
    ]
      .map((cells) => cells.join(separator))
      .join('\n')
    for (const name of ['a.csv', 'a.tsv']) {
      const data = right(await prepare(name, text))
      assert.deepEqual(texts(data), [['a,;|', 'b']], JSON.stringify(text))
      const promised = name === 'a.csv' ? ',' : '\t'
      assert.equal(data.table.separator, separator === promised ? null : separator)
    }
  }
  const misspelt = await prepare('a.csv', 'instructions;output\na;b\n')
  assert.ok(E.isLeft(misspelt))
  assert.match(misspelt.left[0].expected ?? '', /"instructions", "output" \(read with ";"/)
  const none = await prepare('a.csv', 'p;q\na;b\n')
  assert.ok(E.isLeft(none))
  assert.match(none.left[0].expected ?? '', /^one of "p", "q" \(read with ";"/)
  const honest = right(await prepare('a.csv', '"instruction","output","x;y"\n1;2,b,c\n'))
  assert.deepEqual(texts(honest), [['1;2', 'b']])
})

test('missing words are missing answers unless they are asked to be text', async () => {
  const csv = 'instruction,output\na,NA\nb,x\nNone,y\n'
  const data = right(await prepare('a.csv', csv))
  assert.deepEqual(texts(data), [
    ['a', null],
    ['b', 'x'],
    [null, 'y'],
  ])
  const kept = right(await prepare('a.csv', csv, { compiler: ', na_as_text: true' }))
  assert.deepEqual(texts(kept), [
    ['a', 'NA'],
    ['b', 'x'],
    ['None', 'y'],
  ])
})
