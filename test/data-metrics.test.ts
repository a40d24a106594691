/** Metrics from counts and answers. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import {
  addCounts,
  exactMatch,
  isExactMatch,
  meanLoss,
  noTokens,
  perplexity,
  tokenAccuracy,
} from '../src/data/metrics.ts'

test('sums over micro-batches weigh every scored token alike', () => {
  const counts = [
    { lossSum: 6, correct: 1, scored: 2 },
    { lossSum: 2, correct: 5, scored: 6 },
  ].reduce(addCounts, noTokens)
  assert.equal(meanLoss(counts), 1)
  assert.equal(tokenAccuracy(counts), 0.75)
  assert.equal(perplexity(meanLoss(counts)), Math.E)
})

test('nothing scored is not a number, not a good score', () => {
  for (const metric of [meanLoss(noTokens), tokenAccuracy(noTokens), exactMatch([])])
    assert.ok(Number.isNaN(metric))
})

test('answers match when they are equal but for white space around them', () => {
  assert.ok(isExactMatch(' a b\n', 'a b'))
  assert.ok(!isExactMatch('a  b', 'a b'))
  assert.ok(!isExactMatch('A', 'a'))
  assert.equal(
    exactMatch([
      { answer: 'x', expected: 'x ' },
      { answer: '', expected: 'x' },
    ]),
    0.5,
  )
})
