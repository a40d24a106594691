/** Sampling and splitting rows. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as E from 'fp-ts/lib/Either.js'
import type { Cell } from '../src/data/cell.ts'
import { sampleRows, splitRows, type SampleSpec, type SplitSpec } from '../src/data/split.ts'
import type { Issues } from '../src/issue.ts'
import { tableOf } from './data-prepared.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const rowsTo = (n: number) => Array.from({ length: n }, (_, i) => i)

const numbered = (n: number) => tableOf(['a'], ...rowsTo(n).map((i) => [String(i)]))

const by = (...cells: ReadonlyArray<Cell>) =>
  tableOf(['a', 'split'], ...cells.map((cell, i) => [i, cell]))

const left = <T>(e: E.Either<Issues, T>): Issues => {
  if (E.isRight(e)) throw new Error(`right ${JSON.stringify(e.right)}`)
  return e.left
}

const random = (probabilities: readonly [number, number, number]): SplitSpec => ({
  type: 'random',
  probabilities,
})
const fixed: SplitSpec = { type: 'fixed', column: 'split' }

test('a random split divides the rows, differs by seed and not by call', () => {
  fc.assert(
    fc.property(fc.integer({ min: 40, max: 80 }), fc.nat(), (n, seed) => {
      const rows = rowsTo(n).map((i) => 2 * i)
      const split = right(splitRows(numbered(2 * n), rows, random([0.5, 0.25, 0.25]), seed))
      const members = [...split.train, ...split.validation, ...split.test]
      assert.deepEqual(
        members.toSorted((a, b) => a - b),
        rows,
      )
      assert.deepEqual(
        right(splitRows(numbered(2 * n), rows, random([0.5, 0.25, 0.25]), seed)),
        split,
      )
      assert.notDeepEqual(
        right(splitRows(numbered(2 * n), rows, random([0.5, 0.25, 0.25]), seed + 1)),
        split,
      )
    }),
    runs(50),
  )
})

test('shares that are none, and a split that leaves nothing to train on', () => {
  const message = (p: readonly [number, number, number], n = 10) =>
    left(splitRows(numbered(n), rowsTo(n), random(p), 0))[0].message
  assert.match(message([0.7, 0.1, 0.1]), /no shares of a whole/)
  assert.match(message([1.2, -0.2, 0]), /no shares of a whole/)
  assert.match(message([NaN, 0, 1]), /no shares of a whole/)
  assert.match(message([0, 0.5, 0.5]), /training share is 0/)
  assert.match(message([0.4, 0.3, 0.3], 2), /none of the 2 rows is left to train on/)
})

test('a fixed split reads numbers and words, in order', () => {
  const table = by('0', 1, '2', 'train', ' Validation', 'TEST', 'val', '0.0', 0)
  assert.deepEqual(right(splitRows(table, rowsTo(9), fixed, 0)), {
    train: [0, 3, 7, 8],
    validation: [1, 4, 6],
    test: [2, 5],
  })
  assert.deepEqual(right(splitRows(table, [8, 1, 0], fixed, 0)).train, [8, 0])
})

test('a fixed split names every row it cannot place', () => {
  const found = left(splitRows(by('0', null, '3', 'constructor', true), rowsTo(5), fixed, 0))
  assert.deepEqual(
    found.map(({ line, message }) => [line, message]),
    [
      [3, 'line 3 has nothing in the split column "split"'],
      [4, 'line 4 has "3" in the split column "split"'],
      [5, 'line 5 has "constructor" in the split column "split"'],
      [6, 'line 6 has "true" in the split column "split"'],
    ],
  )
  assert.match(left(splitRows(by('1', '2'), [0, 1], fixed, 0))[0].message, /none of the 2 rows/)
  const unknown = left(splitRows(by('0'), [0], { type: 'fixed', column: 'splits' }, 0))
  assert.match(unknown[0].message, /no column "splits"/)
  assert.match(unknown[0].hint ?? '', /"split"/)
})

test('sampling keeps the asked number of different rows, by seed; all rows stay in order', () => {
  const sample = (n: number, spec: SampleSpec, seed = 1) => right(sampleRows(n, spec, seed))
  const half = sample(50, { ratio: 0.5 })
  assert.equal(new Set(half).size, 25)
  assert.ok(half.every((row) => row >= 0 && row < 50))
  assert.deepEqual(sample(50, { ratio: 0.5 }), half)
  assert.notDeepEqual(sample(50, { ratio: 0.5 }, 2), half)
  assert.equal(sample(50, { size: 7 }).length, 7)
  assert.deepEqual(sample(5, {}), [0, 1, 2, 3, 4])
  assert.deepEqual(sample(5, { ratio: 1 }), [0, 1, 2, 3, 4])
  assert.deepEqual(sample(5, { size: 9 }), [0, 1, 2, 3, 4])
})

test('sampling refuses what keeps nothing or is no share', () => {
  for (const ratio of [0, -1, 1.5, NaN, 0.01]) assert.ok(E.isLeft(sampleRows(50, { ratio }, 0)))
  for (const size of [0, -2, 1.5]) assert.ok(E.isLeft(sampleRows(50, { size }, 0)))
})
