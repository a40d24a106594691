/** Cells against what pandas reads in the same files (fixtures/data/by-pandas.py): that is what Ludwig trains on. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import type { Cell } from '../src/data/cell.ts'
import { str } from '../src/data/python.ts'
import { readTable } from '../src/data/table.ts'
import { inFolder } from './cli-child.ts'
import { right } from './right.ts'

const pandas = JSON.parse(
  fs.readFileSync(new URL('fixtures/data/pandas.json', import.meta.url), 'utf8'),
) as {
  readonly json: ReadonlyArray<{
    readonly text: string
    readonly cells: ReadonlyArray<string | null>
  }>
  readonly csv: ReadonlyArray<{ readonly word: string; readonly cell: string | null }>
}

const shown = (cell: Cell | undefined): string | null =>
  cell === null || cell === undefined ? null : str(cell)

test('numbers of JSON read as pandas reads a column of them', async () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'a.json')
    for (const { text, cells } of pandas.json) {
      fs.writeFileSync(file, text)
      const { rows } = right(readTable(file))
      assert.deepEqual(
        rows.map(({ a }) => shown(a)),
        cells,
        text,
      )
    }
  }))

test('words of a CSV that are missing to pandas are missing, and counted; on request they are text', async () =>
  inFolder(async (folder) => {
    const file = path.join(folder, 'a.csv')
    fs.writeFileSync(file, `a,b\n${pandas.csv.map(({ word }) => `${word},NA\n`).join('')}`)
    const table = right(readTable(file, { uses: new Set(['a']) }))
    const got = table.rows.map(({ a }) => shown(a))
    assert.deepEqual(
      got,
      pandas.csv.map(({ cell }) => cell),
    )
    const unquoted = pandas.csv.map(({ word }) => word.replace(/^"(.*)"$/, '$1'))
    assert.deepEqual(
      table.remarks,
      unquoted.flatMap((text, row) =>
        pandas.csv[row]!.cell === null ? [{ column: 'a', row, kind: 'missing', text }] : [],
      ),
    )
    const kept = right(readTable(file, { naAsText: true }))
    assert.deepEqual(
      kept.rows.map(({ a }) => a),
      unquoted,
    )
    assert.deepEqual(kept.remarks, [])
  }))
