/** The data report finds what a person should see, and its text says it. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { distribution } from '../src/data/distribution.ts'
import type { PromptSpec } from '../src/data/prompt.ts'
import { reportData } from '../src/data/report.ts'
import { renderReport } from '../src/data/report-text.ts'
import { letters, prepared, tableOf } from './data-prepared.ts'
import { fc, runs } from './fc.ts'

const prompt: PromptSpec = { template: '{q} {n}\n', inputColumn: 'q' }
const columns = ['q', 'n', 'answer', 'split']

const uses = new Set(columns)

const dataset = prepared(
  tableOf(
    columns,
    ['aa', '1', 'x', '0'],
    ['aa', '1', 'x ', '0'],
    ['aa', '1', 'yy', '0'],
    ['bb', null, 'z', '0'],
    ['cc', '1', null, '0'],
    ['dd', '1', 'a very long answer', '0'],
    ['a very long question', '1', 'n', '0'],
    ['^e', '1', 'a$b', '0'],
    ['bb', null, 'z', '1'],
    ['aa', '1', 'x', '2'],
    ['ff', '1', 'x', '2'],
  ),
  prompt,
  { sequenceLimit: 20 },
)

const report = reportData(dataset, letters, { prompt, uses, rowLength: 20, batch: 3, seed: 1 })

test('rows, samples and tokens of every split', () => {
  const [train, validation, rest] = report.splits
  assert.deepEqual([train?.rows, train?.samples], [8, 6])
  assert.deepEqual([validation?.rows, validation?.samples], [1, 1])
  assert.deepEqual([rest?.rows, rest?.samples], [2, 2])
  // ^bb nan⏎ and z$
  assert.equal(validation?.promptTokens.max, 8)
  assert.equal(validation?.targetTokens.max, 2)
  assert.equal(validation?.tokens.total, 10)
  assert.equal(validation?.characters.max, 8)
})

test('what is cut, dropped, doubled, contradicted and leaked', () => {
  assert.deepEqual(
    report.notes.map(({ kind, rows, dropped, tokens, most }) => [
      kind,
      rows.first,
      dropped,
      tokens,
      most,
    ]),
    [
      ['empty target', ['line 6'], true, 0, 0],
      ['nothing scored', ['line 8'], true, 0, 0],
      ['sequence cut', ['line 7', 'line 8'], false, 11, 6],
    ],
  )
  assert.deepEqual(report.withoutEos, { count: 1, first: ['line 7'] })
  assert.deepEqual(report.doubleBos, { count: 1, first: ['line 9'] })
  assert.deepEqual(report.innerEos, { count: 1, first: ['line 9'] })
  assert.deepEqual(report.leaks, { count: 2, first: ['line 10', 'line 11'] })
  assert.deepEqual(report.missing, [
    { column: 'n', rows: { count: 2, first: ['line 5', 'line 10'] } },
  ])
  assert.deepEqual(report.conflicts, {
    count: 1,
    first: [
      {
        prompt: 'aa 1\n',
        answers: ['x', 'yy'],
        rows: { count: 4, first: ['line 2', 'line 3', 'line 4', 'line 11'] },
      },
    ],
  })
})

test('packing and padding are compared over the training samples', () => {
  const lengths = dataset.samples.train.map((s) => s.prompt.length + s.target.length)
  assert.equal(
    report.packing?.tokens,
    lengths.reduce((sum, n) => sum + n, 0),
  )
  assert.ok(report.packing.packed % 20 === 0 && report.packing.packed >= report.packing.tokens)
  assert.ok(report.packing.padded >= report.packing.tokens)
  assert.equal(
    reportData(dataset, letters, { prompt, uses, rowLength: 19, batch: 3, seed: 1 }).packing,
    undefined,
  )
  // One sample a batch: padding wastes nothing, packing gives each a row of its own.
  const single = reportData(dataset, letters, { prompt, uses, rowLength: 20, batch: 1, seed: 1 })
  assert.deepEqual(
    [single.packing?.packed, single.packing?.padded],
    [6 * 20, report.packing.tokens],
  )
})

test('the text names every finding and shows where the answer starts', () => {
  const text = renderReport(report)
  const has = (line: string) =>
    assert.ok(text.includes(line), `${line}\nis not in\n${text.join('\n')}`)
  has('data.csv: 11 rows')
  has('train: 8 rows, 6 samples kept')
  has('! 1 row without an answer, left out: line 6')
  has('! 1 row whose whole answer falls to the length limit, left out: line 8')
  has(
    '! 2 rows cut off at global_max_sequence_length or the context length, 11 tokens in all, at most 6: line 7, line 8',
  )
  has('! 2 rows with nothing in "n", which the prompt shows as nan: line 5, line 10')
  has('! 2 rows of validation or test with a prompt that also trains: line 10, line 11')
  has('! 1 row with a second begin-of-sequence token inside the prompt: line 9')
  has('    line 2, line 3, line 4, line 11: "aa 1⏎" → "x" or "yy"')
  has('  prompt [^][a][a][ ][1][⏎]')
  has('  answer [x][$]')
  assert.ok(text.every((line) => !line.includes('\n')))
})

test('more than ten rows are counted', () => {
  const many = prepared(
    tableOf(columns, ...Array.from({ length: 13 }, () => ['a', null, 'b', '0'])),
    prompt,
  )
  const line = renderReport(
    reportData(many, letters, { prompt, uses, rowLength: 20, batch: 3, seed: 1 }),
  ).find((l) => l.includes('"n"'))
  assert.match(line ?? '', /^! 13 rows with nothing .* line 2, .*line 11 and 3 more$/)
})

test('a clean data set has no lines to look at', () => {
  const clean = prepared(tableOf(columns, ['a', '1', 'b', '0'], ['c', '1', 'd', '1']), prompt)
  const text = renderReport(
    reportData(clean, letters, { prompt, uses, rowLength: 20, batch: 3, seed: 1 }),
  )
  assert.deepEqual(
    text.filter((line) => line.startsWith('!')),
    [],
  )
})

test('order statistics and histogram of any list', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(300), { maxLength: 60 }), (values) => {
      const d = distribution(values)
      const atMost = (x: number) => values.filter((v) => v <= x).length
      assert.equal(
        d.bins.reduce((sum, { count }) => sum + count, 0),
        values.length,
      )
      for (const { from, to, count } of d.bins) {
        assert.ok(from <= to)
        assert.equal(count, values.filter((v) => v >= from && v <= to).length)
      }
      assert.ok(d.bins.length <= 8)
      if (values.length === 0) return
      assert.equal(d.min, Math.min(...values))
      assert.equal(d.max, Math.max(...values))
      for (const [q, x] of [
        [0.5, d.median],
        [0.95, d.p95],
      ] as const) {
        assert.ok(values.includes(x))
        assert.ok(
          atMost(x) >= q * values.length && values.filter((v) => v < x).length < q * values.length,
        )
      }
    }),
    runs(200),
  )
})
