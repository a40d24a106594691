/** Metrics of an evaluation, against sums over samples one at a time. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { packBatch } from '../src/data/pack.ts'
import type { Sample } from '../src/data/samples.ts'
import { countsOf } from '../src/train/evaluate.ts'
import { metricsOf } from '../src/train/measured.ts'
import { right } from './right.ts'

const ids = (min: number) =>
  fc.array(fc.integer({ min: 1, max: 9 }), { minLength: min, maxLength: 4 })
const samples: fc.Arbitrary<ReadonlyArray<Sample>> = fc.array(
  fc
    .record({ prompt: ids(0), target: ids(1) })
    .filter((s) => s.prompt.length > 0 || s.target.length > 1)
    .map((s) => ({ ...s, row: 0 })),
  { minLength: 1, maxLength: 12 },
)

/** A made-up model that looks at the last token alone: what it predicts, and how sure it is. */
const guess = (token: number): number => ((token * 5) % 9) + 1
const nllOf = (token: number, target: number): number => 1 + ((token * 3 + target) % 7) / 8

test('counts of packed samples are those of the samples one at a time', () => {
  fc.assert(
    fc.property(
      samples,
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 8, max: 17 }),
      (all, rows, length) => {
        let [lossSum, correct, scored, sequencesRight] = [0, 0, 0, 0]
        for (const { prompt, target } of all) {
          const sequence = [...prompt, ...target]
          let good = true
          for (let i = Math.max(1, prompt.length); i < sequence.length; i++) {
            const [last, next] = [sequence[i - 1]!, sequence[i]!]
            scored += 1
            lossSum += nllOf(last, next)
            correct += guess(last) === next ? 1 : 0
            good &&= guess(last) === next
          }
          sequencesRight += good ? 1 : 0
        }
        const total = right(packBatch(all, { rows, length }))
          .map((b) => {
            const nll = Array.from(b.tokens, (t, i) =>
              b.targets[i]! < 0 ? 0 : nllOf(t, b.targets[i]!),
            )
            return countsOf(b, length, nll, Array.from(b.tokens, guess))
          })
          .reduce((a, b) => ({
            lossSum: a.lossSum + b.lossSum,
            correct: a.correct + b.correct,
            scored: a.scored + b.scored,
            sequences: a.sequences + b.sequences,
            sequencesRight: a.sequencesRight + b.sequencesRight,
          }))
        assert.deepEqual(total, { lossSum, correct, scored, sequences: all.length, sequencesRight })
        const m = metricsOf(total)
        assert.ok(Math.abs(m.loss - lossSum / scored) < 1e-12)
        assert.equal(m.perplexity, Math.exp(m.loss))
        assert.equal(m.next_token_perplexity, m.perplexity)
        assert.equal(m.token_accuracy, correct / scored)
        assert.equal(m.sequence_accuracy, sequencesRight / all.length)
      },
    ),
    { numRuns: 300 },
  )
})
