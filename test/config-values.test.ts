/** Small parts of the config on their own: amounts of memory, batch arithmetic, nearest words. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'

import { editDistance, nearest } from '../src/config/nearest.ts'
import { parseBytes, resolveBatch } from '../src/config/index.ts'

test('amounts of memory are whole bytes', () => {
  const amounts: ReadonlyArray<readonly [string, number | undefined]> = [
    ['16GB', 16_000_000_000],
    ['16 gb', 16_000_000_000],
    ['11.5GiB', 12_348_030_976],
    ['512MiB', 536_870_912],
    ['1.5KB', 1500],
    ['0.1KiB', 102],
    ['1TB', 1e12],
    ['2TiB', 2 ** 41],
    ['700B', 700],
    ['16', undefined],
    ['16G', undefined],
    ['GB', undefined],
    ['-1GB', undefined],
    ['0GB', undefined],
    ['0.5B', undefined],
    ['1e3MB', undefined],
    ['9999999TB', undefined],
  ]
  for (const [text, bytes] of amounts) assert.equal(parseBytes(text), bytes, text)
})

test("what follows from batch, accumulation and effective batch is Ludwig's rule", () => {
  const a = 'auto' as const
  const rows: ReadonlyArray<ReadonlyArray<number | 'auto'>> = [
    // given: batch, accumulation, effective; then resolved: batch, accumulation, effective
    [1, a, a, 1, 1, 1],
    [2, 8, a, 2, 8, 16],
    [2, a, 16, 2, 8, 16],
    [a, 8, 16, 2, 8, 16],
    [2, 8, 64, 2, 8, 16],
    [a, a, a, a, a, a],
    [a, a, 16, a, a, 16],
    [a, 8, a, a, 8, a],
  ]
  for (const [batch = a, steps = a, all = a, ...resolved] of rows) {
    const result = resolveBatch({
      batch_size: batch,
      gradient_accumulation_steps: steps,
      effective_batch_size: all,
    })
    assert.deepEqual(
      [result.batch_size, result.gradient_accumulation_steps, result.effective_batch_size],
      resolved,
    )
  }
})

test('edit distance counts changes, and swapped neighbours once', () => {
  assert.equal(editDistance('', 'abc'), 3)
  assert.equal(editDistance('kitten', 'sitting'), 3)
  assert.equal(editDistance('epochs', 'epohcs'), 1)
  const words = fc.string({ maxLength: 8 })
  fc.assert(
    fc.property(words, words, (x, y) => {
      const d = editDistance(x, y)
      assert.equal(d, editDistance(y, x))
      assert.equal(d === 0, x === y)
      assert.ok(d >= Math.abs(x.length - y.length) && d <= Math.max(x.length, y.length))
    }),
  )
})

test('the nearest word is one that may have been meant', () => {
  const known = ['r', 'alpha', 'dropout', 'learning_rate', 'quantization', 'batch_size', 'epochs']
  const meant: ReadonlyArray<readonly [string, string | undefined]> = [
    ['learningRate', 'learning_rate'],
    ['learning-rate', 'learning_rate'],
    ['quantisation', 'quantization'],
    ['BATCH_SIZE', 'batch_size'],
    ['epoch', 'epochs'],
    ['droput', 'dropout'],
    ['rank', undefined],
    ['x', undefined],
    ['', undefined],
    ['something_else', undefined],
  ]
  for (const [word, expected] of meant) assert.equal(nearest(word, known), expected, word)
})
