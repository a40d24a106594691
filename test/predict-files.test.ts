/** Predictions as files: what pyarrow reads of the Parquet, and what readers of CSV and JSON get back. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'csv-parse/sync'
import { rowAt, rowsOf, type Column } from '../src/predict/column.ts'
import { csv, csvOfColumn, jsonl } from '../src/predict/lines.ts'
import { parquet } from '../src/predict/parquet.ts'
import { varint } from '../src/predict/thrift.ts'
import { fc, runs } from './fc.ts'

const folder = path.join(import.meta.dirname, 'fixtures', 'predict')

/** Lists that are empty, long runs of one length, more rows than one byte counts, and text beyond ASCII. */
const sample: ReadonlyArray<Column> = (() => {
  const rows = Array.from({ length: 150 }, (_, i) => i)
  const list = (i: number) => Array.from({ length: i < 20 ? i % 4 : i < 140 ? 1 : 0 }, (_, k) => k)
  return [
    {
      name: 'out_predictions',
      kind: 'texts',
      values: rows.map((i) => list(i).map((k) => `ü${k},"${i}`)),
    },
    {
      name: 'out_response',
      kind: 'text',
      values: rows.map((i) => (i % 3 === 0 ? '' : `🎉\n${i}`)),
    },
    {
      name: 'out_probabilities',
      kind: 'numbers',
      values: rows.map((i) => list(i + 1).map((k) => k / 7)),
    },
    { name: 'out_probability', kind: 'number', values: rows.map((i) => -i / 3) },
  ]
})()

const types = {
  texts: 'list<element: string not null>',
  text: 'string',
  numbers: 'list<element: double not null>',
  number: 'double',
}

test('parquet: the file that pyarrow read as these columns', () => {
  const file = path.join(folder, 'predictions.parquet')
  const bytes = parquet(sample)
  if (process.env['UPDATE'] === '1') fs.writeFileSync(file, bytes)
  assert.ok(Buffer.from(bytes).equals(fs.readFileSync(file)), 'the file has changed: UPDATE=1')
  const read = JSON.parse(fs.readFileSync(path.join(folder, 'predictions.json'), 'utf8')) as Record<
    string,
    { readonly type: string; readonly values: ReadonlyArray<unknown> }
  >
  assert.deepEqual(
    Object.keys(read),
    sample.map((c) => c.name),
  )
  for (const c of sample) {
    assert.equal(read[c.name]!.type, types[c.kind])
    assert.deepEqual(read[c.name]!.values, c.values)
  }
})

test('varint: seven bits a byte, also beyond 32', () => {
  assert.deepEqual(varint(300), [172, 2])
  const value = (bytes: ReadonlyArray<number>) =>
    bytes.reduce((n, b, i) => n + (b % 128) * 128 ** i, 0)
  fc.assert(
    fc.property(fc.maxSafeNat(), (n) => {
      const bytes = varint(n)
      assert.equal(value(bytes), n)
      assert.ok(bytes.every((b, i) => b >= 128 === i < bytes.length - 1))
    }),
    runs(200),
  )
})

const words = fc.array(fc.constantFrom(...'a,";\r\n ü'), { maxLength: 5 }).map((l) => l.join(''))
const table: fc.Arbitrary<ReadonlyArray<Column>> = fc
  .array(
    fc.record({
      text: words,
      texts: fc.array(words, { maxLength: 3 }),
      // Adding 0 makes 0 of negative zero, which text does not tell apart.
      number: fc.double({ noNaN: true, noDefaultInfinity: true }).map((x) => x + 0),
    }),
    { minLength: 1, maxLength: 5 },
  )
  .map((rows) => [
    { name: 'a,"b', kind: 'text', values: rows.map((r) => r.text) },
    { name: 'l', kind: 'texts', values: rows.map((r) => r.texts) },
    { name: 'n', kind: 'number', values: rows.map((r) => r.number) },
  ])

test('csv and jsonl give back what was written', () => {
  fc.assert(
    fc.property(table, (columns) => {
      const read = parse(csv(columns), { columns: true }) as ReadonlyArray<Record<string, string>>
      const lines = jsonl(columns).trimEnd().split('\n')
      assert.equal(read.length, rowsOf(columns))
      read.forEach((row, i) => {
        const want = rowAt(columns, i)
        assert.equal(row['a,"b'], want['a,"b'])
        assert.deepEqual(JSON.parse(row['l']!), want['l'])
        assert.equal(Number(row['n']), want['n'])
        assert.deepEqual(JSON.parse(lines[i]!), JSON.parse(JSON.stringify(want)))
      })
    }),
    runs(100),
  )
})

test("one column is as Ludwig writes it: no header, a list's values side by side", () => {
  assert.equal(csvOfColumn(sample[0]!).split('\n')[2], '"ü0,""2","ü1,""2"')
  assert.equal(csvOfColumn({ name: 'n', kind: 'number', values: [1, -0.5] }), '1\n-0.5\n')
})
