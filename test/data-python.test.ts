/** Values, formats and prompts against what Python made of them (fixtures/data/python.py). */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import fs from 'node:fs'
import * as E from 'fp-ts/lib/Either.js'
import type { Cell } from '../src/data/cell.ts'
import { formatFloat, parseFloatSpec } from '../src/data/format-spec.ts'
import { renderPrompts } from '../src/data/prompt.ts'
import { float, floatRepr, jsonDumps, str } from '../src/data/python.ts'
import { random } from '../src/data/random.ts'
import { cuts, sampleRows } from '../src/data/split.ts'
import { tableOf } from './data-prepared.ts'
import { right } from './right.ts'

type Outcome = { readonly text: string; readonly error?: never } | { readonly error: true }

interface Fixture {
  readonly repr: ReadonlyArray<{ readonly hex: string; readonly text: string }>
  readonly format: ReadonlyArray<{
    readonly hex: string
    readonly spec: string
    readonly text: string
  }>
  readonly badSpecs: ReadonlyArray<string>
  readonly float: ReadonlyArray<{ readonly cell: string } & Outcome>
  readonly str: ReadonlyArray<{ readonly cell: Cell; readonly text: string }>
  readonly dumps: ReadonlyArray<{ readonly cell: Cell; readonly text: string }>
  readonly prompts: ReadonlyArray<
    {
      readonly template: string | null
      readonly task: string | null
      readonly row: Readonly<Record<string, Cell>>
    } & Outcome
  >
  readonly splits: ReadonlyArray<{
    readonly shares: readonly [number, number, number]
    readonly n: number
    readonly sizes: ReadonlyArray<number>
  }>
  readonly round: ReadonlyArray<{
    readonly n: number
    readonly ratio: number
    readonly size: number
  }>
  readonly random: ReadonlyArray<{
    readonly key: ReadonlyArray<number>
    readonly drawn: ReadonlyArray<number>
  }>
}

const python = JSON.parse(
  fs.readFileSync(new URL('fixtures/data/python.json', import.meta.url), 'utf8'),
) as Fixture

/** JSON's whole numbers are Python's ints. */
const cellOf = (cell: Cell): Cell =>
  typeof cell === 'number' && Number.isInteger(cell) ? BigInt(cell) : cell

const fromHex = (hex: string): number => Buffer.from(hex, 'hex').readDoubleBE(0)

test('repr of floats', () => {
  for (const { hex, text } of python.repr) assert.equal(floatRepr(fromHex(hex)), text)
})

test('format specs for floats', () => {
  for (const { hex, spec, text } of python.format)
    assert.equal(formatFloat(fromHex(hex), right(parseFloatSpec(spec))), text, `${spec} of ${hex}`)
})

test('specs that are not for floats are refused', () => {
  for (const spec of python.badSpecs) assert.ok(E.isLeft(parseFloatSpec(spec)), spec)
})

test('float of text, and text that is none', () => {
  for (const expected of python.float) {
    const got = float(expected.cell)
    if (expected.error) assert.ok(E.isLeft(got), expected.cell)
    else assert.equal(floatRepr(right(got)), expected.text, expected.cell)
  }
})

test('str and json.dumps of cells', () => {
  for (const { cell, text } of python.str) assert.equal(str(cellOf(cell)), text)
  for (const { cell, text } of python.dumps) assert.equal(jsonDumps(cellOf(cell)), text)
})

test('prompts as Ludwig renders them, and refused where Ludwig fails', () => {
  for (const { template, task, row, ...expected } of python.prompts) {
    const table = tableOf(Object.keys(row), Object.values(row).map(cellOf))
    const got = renderPrompts(
      {
        inputColumn: 'input',
        ...(template === null ? {} : { template }),
        ...(task === null ? {} : { task }),
      },
      table,
    )
    if ('error' in expected) assert.ok(E.isLeft(got), `${template} should be refused`)
    else assert.deepEqual(right(got), [expected.text], `${template}`)
  }
})

test('random split sizes', () => {
  for (const { shares, n, sizes } of python.splits) {
    const [first, second] = cuts(n, shares)
    assert.deepEqual([first, second - first, n - second], sizes, `${shares.join()} of ${n}`)
  }
})

test('sample sizes round halves to even', () => {
  for (const { n, ratio, size } of python.round)
    assert.equal(right(sampleRows(n, { ratio }, 0)).length, size, `${ratio} of ${n}`)
})

test('random numbers equal an independent sfc32 for every kind of key', () => {
  for (const { key, drawn } of python.random) {
    const { next } = random(...key)
    assert.deepEqual(
      drawn.map(() => next()),
      drawn,
      `key ${key.join()}`,
    )
  }
})
