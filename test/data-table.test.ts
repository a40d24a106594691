/** Reading tables: what is written comes back, and what is wrong is named with its line. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { rowName } from '../src/data/cell.ts'
import { readTable, type Cell, type Format, type Row, type Table } from '../src/data/table.ts'
import type { Issues } from '../src/issue.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const read = async (
  name: string,
  content: string | Uint8Array,
  format?: Format,
): Promise<E.Either<Issues, Table>> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-table-'))
  try {
    const file = path.join(folder, name)
    await fs.writeFile(file, content)
    return readTable(file, format ? { format } : {})
  } finally {
    await fs.rm(folder, { recursive: true })
  }
}

const table = async (name: string, content: string | Uint8Array): Promise<Table> =>
  right(await read(name, content))

const issues = async (name: string, content: string | Uint8Array): Promise<Issues> => {
  const got = await read(name, content)
  if (E.isRight(got)) throw new Error(`read ${JSON.stringify(got.right)}`)
  return got.left
}

test('csv: quotes, separators, line breaks, byte order mark and both line ends', async () => {
  const t = await table('a.csv', '\ufeffa,b\r\n007,"x, ""y""\r\nz"\r\n\r\n , NA\r\n,""\n')
  assert.deepEqual(t.columns, ['a', 'b'])
  assert.deepEqual(t.rows, [
    { a: '007', b: 'x, "y"\r\nz' },
    { a: ' ', b: ' NA' },
    { a: null, b: null },
  ])
  assert.deepEqual(t.lines, [2, 5, 6])
})

test('tsv keeps commas', async () => {
  assert.deepEqual((await table('a.tsv', 'a\tb\n1,2\t"x\ty"\n')).rows, [{ a: '1,2', b: 'x\ty' }])
})

test('column names are sanitised as Ludwig does, an unnamed one as pandas does', async () => {
  const t = await table('a.csv', ',a.b,"c(d){e}:""f""[g]\'h\'"\n0,1,2\n')
  assert.deepEqual(t.columns, ['Unnamed_ 0', 'a_b', 'c_d__e___f__g__h_'])
})

test('csv: ragged rows are all named, the first ten in full', async () => {
  const two = await issues('a.csv', 'a,b\n1,2\n"x\ny"\n3\n4,5,6\n')
  assert.deepEqual(
    two.map(({ line, message }) => [line, message]),
    [
      [3, 'line 3 has 1 cell where the header has 2'],
      [5, 'line 5 has 1 cell where the header has 2'],
      [6, 'line 6 has 3 cells where the header has 2'],
    ],
  )
  const many = await issues('a.csv', `a,b\n${'1\n'.repeat(25)}`)
  assert.equal(many.length, 11)
  assert.equal(many[10]?.message, '15 more problems of this file')
})

test('csv: broken quotes name the row', async () => {
  const unclosed = await issues('a.csv', 'a,b\n1,2\n3,"x\n4,5\n')
  assert.equal(unclosed[0].line, 3)
  assert.match(unclosed[0].message, /never closed/)
  assert.match((await issues('a.csv', 'a,b\n1,x"y\n'))[0].message, /line 2 has a quote inside/)
  assert.match((await issues('a.csv', 'a,b\n1,"x"y\n'))[0].message, /line 2 has text after/)
})

test('repeated columns, no rows, no columns, no file, an unknown extension', async () => {
  const twice = await issues('a.csv', '\na,b,a\n1,2,3\n')
  assert.match(twice[0].message, /two columns are called "a"/)
  assert.equal(twice[0].line, 2)
  assert.match((await issues('a.csv', 'a.b,a:b\n1,2\n'))[0].message, /both called "a_b"/)
  assert.match((await issues('a.csv', 'a,b\n'))[0].message, /no rows/)
  assert.match((await issues('a.csv', ''))[0].message, /empty/)
  assert.match((await issues('a.json', '[]'))[0].message, /no columns/)
  assert.match((await issues('a.json', '[{}, {}]'))[0].message, /no columns/)
  assert.match((await issues('a.parquet', 'x'))[0].message, /\.parquet/)
  const missing = readTable(path.join(os.tmpdir(), 'no such folder', 'a.csv'))
  assert.ok(E.isLeft(missing) && /does not exist/.test(missing.left[0].message))
  assert.match(missing.left[0].hint!, /compiler\.dataset .*--dataset/)
})

test('a format that is given wins over the name', async () => {
  assert.deepEqual(right(await read('a.txt', 'a\n1\n', 'csv')).rows, [{ a: '1' }])
})

test('bytes that are not UTF-8 name their line', async () => {
  const bytes = Buffer.concat([Buffer.from('a\nx\ny'), Buffer.from([0xff]), Buffer.from('\nz\n')])
  const [first] = await issues('a.csv', bytes)
  assert.equal(first.line, 3)
  assert.match(first.message, /not UTF-8/)
})

test('json: rows of different columns, nested values, and the line of each row', async () => {
  const text = `[
  {"a": 1, "b": "x, }]\\"\\n"},

  {"c": {"d": [1, null]}, "a": 2.5}, {"a": true,
   "b": null}
]`
  const t = await table('a.json', text)
  assert.deepEqual(t.columns, ['a', 'b', 'c'])
  assert.deepEqual(t.rows, [
    { a: 1n, b: 'x, }]"\n', c: null },
    { a: 2.5, b: null, c: '{"d":[1,null]}' },
    { a: true, b: null, c: null },
  ])
  assert.deepEqual(t.lines, [2, 4, 4])
})

test('json by columns, as pandas writes it and as lists', async () => {
  const labelled = await table('a.json', '{"q": {"0": "x", "2": "y"}, "r": {"0": 1, "2": null}}')
  assert.deepEqual(labelled.rows, [
    { q: 'x', r: 1 },
    { q: 'y', r: null },
  ])
  assert.deepEqual(labelled.lines, [])
  const lists = await table('a.json', '{"q": ["x", "y"], "r": [1, 2]}')
  assert.deepEqual(lists.rows, [
    { q: 'x', r: 1n },
    { q: 'y', r: 2n },
  ])
})

test('json: bad rows are named by line and cause', async () => {
  const bad = await issues('a.json', '[{"a": 1},\n{"a": },\n 3,\n{"a": 1e999},\n{"a" 1},\n{b: 1}]')
  assert.deepEqual(
    bad.map(({ line, message }) => [line, message]),
    [
      [2, 'the row on line 2 has a value of "a" that is missing'],
      [3, 'the row on line 3 is not an object of column names and values'],
      [
        4,
        'the row on line 4 has a value of "a" that is a number beyond those of 64 bits; write it in quotes: `1e999`',
      ],
      [5, 'the row on line 5 lacks a `:` after the key "a"'],
      [6, 'the row on line 6 lacks a key in double quotes'],
    ],
  )
  assert.match((await issues('a.json', '[{"a": 1}'))[0].message, /never closed/)
  assert.equal((await issues('a.json', '[{"a": 1},\n]'))[0].line, 2)
  const after = await issues('a.json', '[{"a": 1}]\nx')
  assert.deepEqual([after[0].line, /text after/.test(after[0].message)], [2, true])
  assert.match((await issues('a.json', '{"a": 1}'))[0].message, /"a" that is a single value/)
  assert.match((await issues('a.json', '"a"'))[0].message, /no JSON array or object/)
  const lines = await issues('a.json', '{"a": 1}\n{"a": 2}\n')
  assert.match(lines[0].hint ?? '', /name it \.jsonl/)
})

test('json: a bad value is named by its own line, also in a file of columns', async () => {
  const row = await issues('a.json', '[\n{"a": 1,\n "b": .5}]')
  assert.deepEqual(
    [row[0].line, row[0].message],
    [3, 'the row on line 2 has a value of "b" that is not valid JSON: `.5`'],
  )
  const column = await issues('a.json', '{"a": [1,\n2,\n.5]}')
  assert.deepEqual(
    [column[0].line, column[0].message],
    [3, 'row 3 has a value of "a" that is not valid JSON: `.5`'],
  )
})

test('json: rows of one line are told apart', async () => {
  const text = '[{"a": 1}, {"a": 02}, 3, {"a": 03}]'
  assert.deepEqual(
    (await issues('a.json', text)).map(({ line, message }) => [line, message]),
    [
      [1, 'row 3 on line 1 is not an object of column names and values'],
      [
        1,
        'row 2 on line 1 has a value of "a" that is not valid JSON: `02`; so it is with row 4 on line 1',
      ],
    ],
  )
  const t = await table('a.json', '[{"a": 1}, {"a": 2},\n{"a": 3}]')
  assert.deepEqual(
    t.rows.map((_, i) => rowName(t, i)),
    ['row 1 on line 1', 'row 2 on line 1', 'line 2'],
  )
})

test('json: a complaint is made once, with its first line and the others', async () => {
  const row = (i: number) => `{"id": 0${i}, "b": 'x', "c": ${i}}`
  const text = Array.from({ length: 6 }, (_, i) => row(i)).join('\n')
  const bad = await issues('a.jsonl', text)
  assert.deepEqual(
    bad.map(({ line, message }) => [line, message]),
    [
      [
        1,
        'the row on line 1 has a value of "id" that is not valid JSON: `00`; so it is with line 2, line 3, line 4 and 2 more',
      ],
      [
        1,
        'the row on line 1 has a value of "b" that is not valid JSON: `\'x\'`; so it is with line 2, line 3, line 4 and 2 more',
      ],
    ],
  )
})

test('jsonl: blank lines count, bad lines are named', async () => {
  const t = await table('a.jsonl', '{"a": "1"}\r\n\r\n{"a": "2"}')
  assert.deepEqual(t.lines, [1, 3])
  const bad = await issues('a.jsonl', '{"a": "1"}\n{"a": "2"\n\n[1]\n')
  assert.deepEqual(
    bad.map(({ line }) => line),
    [2, 4],
  )
})

const cell = fc.oneof(
  fc.string({ unit: fc.constantFrom('a', 'é', '"', ',', '\t', '\n', '\r', ' ', '0', '😀') }),
  fc.string({ unit: 'grapheme' }),
)
const width = 3

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`

/** A cell as some program might write it: in quotes where needed, and sometimes where not. */
const written = (text: string, always: boolean, delimiter: string): string =>
  always || /["\r\n]/.test(text) || text.includes(delimiter) ? quoted(text) : text

const csvLines = (text: string): number => text.match(/\r\n|\n|\r/g)?.length ?? 0

test('any cells survive csv and tsv, with the line each row starts on', async () => {
  const property = fc.asyncProperty(
    fc.array(fc.array(fc.tuple(cell, fc.boolean()), { minLength: width, maxLength: width }), {
      minLength: 1,
      maxLength: 8,
    }),
    fc.constantFrom('\n', '\r\n'),
    fc.constantFrom([',', 'a.csv'] as const, ['\t', 'a.tsv'] as const),
    fc.boolean(),
    async (rows, end, [delimiter, name], lastEnd) => {
      const lines: Array<number> = []
      let text = ['p', 'q', 'r'].join(delimiter)
      for (const row of rows) {
        text += end
        lines.push(csvLines(text) + 1)
        text += row.map(([value, always]) => written(value, always, delimiter)).join(delimiter)
      }
      const t = await table(name, text + (lastEnd ? end : ''))
      assert.deepEqual(
        t.rows.map((row) => ['p', 'q', 'r'].map((column) => row[column])),
        rows.map((row) => row.map(([value]) => (value === '' ? null : value))),
      )
      assert.deepEqual(t.lines, lines)
    },
  )
  await fc.assert(property, runs(150))
})

const unread = (cell: Cell | undefined): unknown => (typeof cell === 'bigint' ? Number(cell) : cell)

const mapped = (row: Row, f: (cell: Cell | undefined) => unknown) =>
  Object.fromEntries(Object.entries(row).map(([k, v]) => [k, f(v)]))

test('any rows survive json, jsonl and json by columns', async () => {
  const value = fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.boolean(),
    fc.constant(null),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true, min: -1e6, max: 1e6 }).map((x) => x + 0),
  )
  const row = fc.record({ p: value, 'q q': value, é: value }, { noNullPrototype: true })
  const property = fc.asyncProperty(
    fc.array(row, { minLength: 1, maxLength: 6 }),
    fc.constantFrom(0, 1, 4),
    async (rows, indent) => {
      const array = JSON.stringify(rows, null, indent)
      // A column of numbers alone reads as pandas has it, which data-pandas.test.ts is about.
      const cells = (read: Table) => read.rows.map((r) => mapped(r, unread))
      const whole = await table('a.json', array)
      assert.deepEqual(cells(whole), rows)
      const starts = array.split('\n').flatMap((line, i) => (/^ *\{/.test(line) ? [i + 1] : []))
      assert.deepEqual(whole.lines, indent === 0 ? rows.map(() => 1) : starts)
      const lines = await table('a.jsonl', rows.map((r) => JSON.stringify(r)).join('\n'))
      assert.deepEqual(cells(lines), rows)
      const columns = Object.fromEntries(
        (['p', 'q q', 'é'] as const).map((name) => [name, rows.map((r) => r[name])]),
      )
      assert.deepEqual(cells(await table('a.json', JSON.stringify(columns))), rows)
    },
  )
  await fc.assert(property, runs(60))
})
