/** Bad configs and exactly what is said about them: place, words, expectation, remedy. */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { base, problemsOf } from './config-base.ts'

interface Case {
  readonly name: string
  readonly from: string
  readonly to: string
  readonly said: ReadonlyArray<string>
}

const begins = (lines: ReadonlyArray<string>, mark: string): ReadonlyArray<string> =>
  lines.filter((line) => line.startsWith(mark)).map((line) => `${line.slice(1)}\n`)

/** A block is `# name`, then an edit of the base as `-` and `+` lines, then the problems it causes. */
const readCases = (fixture: string): ReadonlyArray<Case> =>
  readFileSync(new URL(`fixtures/config/${fixture}.txt`, import.meta.url), 'utf8')
    .trimEnd()
    .split('\n\n')
    .map((block) => {
      const lines = block.split('\n')
      return {
        name: begins(lines, '#').join('').trim(),
        from: begins(lines, '-').join(''),
        to: begins(lines, '+').join(''),
        said: lines.filter((line) => !/^[-+#]/.test(line)),
      }
    })

for (const fixture of ['keys', 'values', 'rules', 'yaml'])
  for (const { name, from, to, said } of readCases(fixture))
    test(`${fixture}: ${name}`, () => {
      assert.ok(base.includes(from), 'the edit fits the base')
      assert.ok(said.length > 0, 'something is said')
      assert.deepEqual(problemsOf(base.replace(from, () => to)), said)
    })

test('all problems of a file come at once, in the order of its lines', () => {
  const text = `base_model: llama-2-7b
quantisation: {bits: 4}
input_features: [{name: a, type: text}]
output_features: [{name: b, type: text}]
preprocessing:
  split: {type: stratify, probabilities: [0.8, 0.2]}
trainer:
  learning_rte: 1
  learning_rate: fast
  epochs: 0
  epochs: 3
  batch_size: 3
  effective_batch_size: 16
  optimizer: {type: radam, betas: [2, 0.9]}
prompt: {template: "{b}"}
generation: {num_beam_groups: 4, temperature: hot}
`
  assert.deepEqual(
    problemsOf(text).map((line) => line.replace(/;.*/, '')),
    [
      '1:1 `model_type` is missing',
      '2:1 unknown key `quantisation`',
      '6:3 `preprocessing.split.column` is missing',
      '6:42 `preprocessing.split.probabilities` is [0.8, 0.2]',
      '7:1 `trainer.type` is missing',
      '8:3 unknown key `learning_rte`',
      '9:18 `trainer.learning_rate` is "fast"',
      '10:11 `trainer.epochs` is 0',
      '11:3 the key `epochs` is given twice in one section, first on line 10',
      '13:25 effective_batch_size 16 is not a multiple of batch_size 3',
      '14:21 Ludwig knows `radam` for `trainer.optimizer.type`',
      '14:35 `trainer.optimizer.betas` is [2, 0.9]',
      "15:20 the template shows the answer: `{b}` is the output's column",
      '16:14 Ludwig knows `generation.num_beam_groups`',
      '16:47 `generation.temperature` is "hot"',
    ],
  )
})

test('an empty file, a list, a word and a comment are no config', () => {
  const expected = '; expected a map of keys, starting with `model_type: llm`'
  assert.deepEqual(problemsOf(''), [`1:1 the file is empty${expected}`])
  assert.deepEqual(problemsOf('# nothing\n\n'), [`1:1 the file is empty${expected}`])
  assert.deepEqual(problemsOf('\n- a\n- b\n'), [`2:1 the file is a list${expected}`])
  assert.deepEqual(problemsOf('llm'), [`1:1 the file is a single value${expected}`])
})

test('what would take the reader down is refused with one problem', () => {
  const deep = '1:1 values are nested more than 64 levels deep'
  const many = '1:1 the file holds more than 4000 values once its aliases are expanded'
  const bomb = [...'bcdefghij'].reduce((text, name, i) => {
    const before = `*${'abcdefghij'[i]}`
    return `${text}${name}: &${name} [${Array(9).fill(before).join(', ')}]\n`
  }, 'a: &a [x, x, x, x, x, x, x, x, x]\n')
  assert.deepEqual(problemsOf('['.repeat(20_000)), [deep])
  assert.deepEqual(problemsOf('{'.repeat(100_000)), [deep])
  assert.deepEqual(problemsOf('- '.repeat(20_000)), [deep])
  assert.deepEqual(problemsOf('a: '.repeat(20_000)), [deep])
  assert.deepEqual(problemsOf(bomb), [many])
  assert.deepEqual(problemsOf('k: 1\n'.repeat(9_000)), [many])
  assert.deepEqual(problemsOf('x'.repeat(10_000_000)), [
    '1:1 the file is too large for a config: 10000000 characters; expected at most 131072 characters',
  ])
})

test('of very many problems the first fifty are listed', () => {
  const text = Array.from({ length: 200 }, (_, i) => `nonsense_${i}: 1\n`).join('')
  const said = problemsOf(base + text)
  assert.equal(said.length, 51)
  assert.equal(said.at(-1), '93:1 150 more problems follow from here')
})
