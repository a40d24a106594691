/** Prompts: what is wrong with a template or a cell is said with the place and the way out. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as E from 'fp-ts/lib/Either.js'
import { renderPrompts, templateColumns, type PromptSpec } from '../src/data/prompt.ts'
import type { Issues } from '../src/issue.ts'
import { tableOf } from './data-prepared.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const table = tableOf(
  ['instruction', 'input', 'price'],
  ['add', '3', '1.5'],
  ['sub', null, 'x'],
  ['', '5', '2'],
)

const issues = (spec: PromptSpec): Issues => {
  const got = renderPrompts(spec, table)
  if (E.isRight(got)) throw new Error(`rendered ${JSON.stringify(got.right)}`)
  return got.left
}

test('an unknown column names the columns there are and the nearest', () => {
  const [first, second, ...rest] = issues({
    template: '{instuction} {foo} {instuction}',
    inputColumn: 'input',
  })
  assert.equal(first.message, 'the data has no column "instuction"')
  assert.equal(first.expected, 'one of "instruction", "input", "price"')
  assert.equal(first.hint, 'did you mean "instruction"?')
  assert.equal(first.path, 'prompt.template')
  assert.equal(second?.message, 'the data has no column "foo"')
  assert.equal(second?.hint, undefined)
  assert.equal(rest.length, 0)
})

test('a cell that does not fit its format names its line', () => {
  const [first, ...rest] = issues({ template: '{price:.2f}', inputColumn: 'input' })
  assert.deepEqual(first, {
    message: '{price:.2f}: "x" is not a number',
    file: 'data.csv',
    line: 3,
  })
  assert.equal(rest.length, 0)
})

test('what Ludwig has and tunec does not, and what cannot be meant', () => {
  const message = (template: string, task?: string) =>
    issues({ template, inputColumn: 'input', ...(task === undefined ? {} : { task }) })[0].message
  assert.match(message('{input} {__context__}'), /looked up for data sets alone/)
  assert.match(message('{input} {__task__}'), /there is no task/)
  assert.match(message('{input} {__task__:.2f}', 'sum'), /takes no format/)
  assert.match(message('{input:d}'), /the format `d` is not supported/)
  assert.match(message('{price:.2f} {price}'), /also stands without a format/)
  assert.match(message('always the same'), /shows no column/)
  assert.match(message('{__task__}', 'sum'), /shows no column/)
  assert.match(message('{input'), /no closing/)
  assert.match(issues({ inputColumn: 'inpt' })[0].hint ?? '', /"input"/)
  assert.match(issues({ task: 'sum', inputColumn: 'inpt' })[0].hint ?? '', /"input"/)
})

test('without template and task the prompt is the input cell, null where it is empty', () => {
  assert.deepEqual(right(renderPrompts({ inputColumn: 'input' }, table)), ['3', null, '5'])
  assert.deepEqual(right(renderPrompts({ inputColumn: 'instruction' }, table)), [
    'add',
    'sub',
    null,
  ])
})

test('a missing cell shows as nan, an empty text as nothing', () => {
  assert.deepEqual(
    right(renderPrompts({ template: '{instruction}:{input}', inputColumn: 'x' }, table)),
    ['add:3', 'sub:nan', ':5'],
  )
})

test('the columns a template shows', () => {
  const columns = (template: string) => templateColumns({ template, inputColumn: 'input' })
  assert.deepEqual(columns('{b} {a:.1f}{b} {__sample__} {{c}}'), ['b', 'a'])
  assert.deepEqual(columns('{'), [])
  assert.deepEqual(templateColumns({ inputColumn: 'input' }), [])
})

test('any text between placeholders and in cells comes through unchanged', () => {
  const text = fc.string({
    unit: fc.constantFrom('{', '}', 'a', '\n', '"', '\\', '$&', 'é', '😀', ' '),
  })
  fc.assert(
    fc.property(fc.array(fc.tuple(text, text)), text, (pairs, end) => {
      const columns = ['c', ...pairs.map((_, i) => `c${i}`)]
      const escape = (s: string) => s.replaceAll('{', '{{').replaceAll('}', '}}')
      const template = pairs.map(([before], i) => `${escape(before)}{c${i}}`).join('')
      const [got] = right(
        renderPrompts(
          { template: `{c}${template}${escape(end)}`, inputColumn: 'c' },
          tableOf(columns, ['.', ...pairs.map(([, cell]) => cell)]),
        ),
      )
      assert.equal(got, `.${pairs.flat().join('')}${end}`)
    }),
    runs(200),
  )
})
