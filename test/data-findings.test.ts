/** Findings about how a file was read, and the words for them on a terminal. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import type { Remark } from '../src/data/cell.ts'
import { expressed } from '../src/data/expressed.ts'
import { findingLines, shortFindings } from '../src/data/findings-text.ts'
import { findingsOf } from '../src/data/findings.ts'
import { questionsOf } from '../src/generate/index.ts'
import type { Tokenizer } from '../src/tokenizer/tokenizer.ts'
import { letters, prepared, tableOf } from './data-prepared.ts'

const prompt = { template: '{q}\n', inputColumn: 'q' }
const uses = new Set(['q', 'answer', 'split'])

const linesOf = (
  columns: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string | null>>,
  {
    remarks = [],
    tokenizer = letters,
    used = uses,
    inputColumn = 'q',
  }: {
    readonly remarks?: ReadonlyArray<Remark>
    readonly tokenizer?: Tokenizer
    readonly used?: ReadonlySet<string>
    readonly inputColumn?: string
  } = {},
) => {
  const table = { ...tableOf(columns, ...rows), remarks }
  const data = prepared(table, prompt)
  const spec = { ...prompt, inputColumn }
  return findingLines(findingsOf(data, tokenizer, { prompt: spec, uses: used }))
}

const columns = ['q', 'answer', 'split']

test('words that count as missing and keys given twice are counted, by column and with the key that keeps them', () => {
  const remarks: ReadonlyArray<Remark> = [
    { column: 'answer', row: 1, kind: 'missing', text: 'NA' },
    { column: 'answer', row: 2, kind: 'missing', text: 'null' },
    { column: 'answer', row: 0, kind: 'repeated', text: '"a"' },
  ]
  const rows = [
    ['a', '{"a":1,"a":2}', '0'],
    ['b', null, '0'],
    ['c', null, '0'],
  ]
  assert.deepEqual(linesOf(columns, rows, { remarks }), [
    '! 2 rows without an answer, left out: line 3, line 4',
    '! 2 rows whose "answer" says "NA", "null" and counts as missing, as in Ludwig (compiler.na_as_text: true keeps it as text): line 3, line 4',
    '! 1 row with a key twice in one object of "answer", both of them kept: line 2',
  ])
})

test('what was read in rows that no split has is not told', () => {
  const table = {
    ...tableOf(columns, ['a', 'x', '0'], ['b', null, '0']),
    remarks: [{ column: 'answer', row: 1, kind: 'missing', text: 'NA' }] as const,
  }
  const data = prepared(table, prompt)
  const sampled = { ...data, split: { ...data.split, train: [0] }, notes: [] }
  assert.deepEqual(findingLines(findingsOf(sampled, letters, { prompt, uses })), [])
})

/** Knows no capital letters and no ß, as a normaliser would have it. */
const plain: Tokenizer = {
  ...letters,
  encode: (text, o) => letters.encode(text.toLowerCase().replaceAll('ß', ''), o),
}

test('an answer that the tokenizer changes is named, and answers are compared with what it can say', () => {
  const table = tableOf(columns, ['a', 'Fuß', '0'], ['b', 'arm', '2'], ['c', 'Bein ', '2'])
  const data = { ...prepared(table, prompt, {}, plain), tokenizer: plain }
  assert.deepEqual(findingLines(findingsOf(data, plain, { prompt, uses })), [
    '! 2 rows whose answer the tokenizer cannot give back as it is written ("Fuß" becomes "fu"): line 2, line 4',
  ])
  assert.equal(expressed(plain, 'Fuß'), 'fu')
  assert.deepEqual(
    questionsOf(data, 'test').map(({ expected }) => expected),
    ['arm', 'bein '],
  )
})

test('characters that the tokenizer drops from a prompt are named', () => {
  const rows = [
    ['aß', 'x', '0'],
    ['b ß☃', 'y', '0'],
    ['c A�', 'z', '2'],
  ]
  const drops: Tokenizer = {
    ...plain,
    encode: (text, o) => plain.encode(text.replaceAll('☃', ''), o),
  }
  assert.deepEqual(linesOf(columns, rows, { tokenizer: drops }), [
    '! 2 rows whose prompt has characters that the tokenizer drops ("ß", "☃"): line 2, line 3',
  ])
  assert.deepEqual(linesOf(columns, rows), [])
})

test('columns that look as if they should steer something are named when nothing uses them', () => {
  const wide = ['q', 'answer', 'split', 'Weight', 'id', 'input', 'instruction']
  const rows = [['a', 'b', '0', '2', '7', 'x', 'y']]
  const why = 'no feature, template or split names it'
  assert.deepEqual(linesOf(wide, rows), [
    `! the column "Weight" has no effect: ${why}`,
    `! the column "input" has no effect: ${why}`,
    `! the column "instruction" has no effect: ${why}`,
  ])
  assert.deepEqual(linesOf(wide, rows, { used: new Set(wide), inputColumn: 'instruction' }), [])
  const random = linesOf(wide, rows, {
    used: new Set(['q', 'answer', 'input', 'Weight']),
    inputColumn: 'instruction',
  })
  assert.match(random[0]!, /^! the column "split" has no effect: the rows are split at random/)
  assert.match(random[1]!, /^! the column "instruction" has no effect: the input feature/)
  assert.equal(random.length, 2)
})

test('in short there is one line a finding, with three rows; nothing in it moves a terminal', () => {
  const rows = Array.from({ length: 9 }, (_, i) => ['a\u001b[2Jb\u009b', `x\u202e${i}`, '0'])
  const table = tableOf(columns, ...rows, ...Array.from({ length: 5 }, () => ['q', null, '0']))
  const found = findingsOf(prepared(table, prompt), letters, { prompt, uses })
  assert.deepEqual(shortFindings(found), [
    '! 5 rows without an answer, left out: line 11, line 12, line 13 and 2 more',
    '! 1 prompt with different answers',
  ])
  const whole = findingLines(found).join('\n')
  assert.doesNotMatch(whole.replaceAll('\n', ''), /[\p{Cc}\u202e]/u)
  assert.match(whole, /\\u\{9b\}/)
  assert.match(whole, /x\\u\{202e\}0/)
})
