/** Choosing tokens: transformers' processors and warpers written out a second time, and the laws of a draw. */
import { constrained, unconstrained } from '../src/generate/constraints.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { choose, distribution, likeliest, type Sampling } from '../src/generate/sample.ts'
import { fc, runs } from './fc.ts'

const plain: Sampling = { temperature: 1, topK: 0, topP: 1, seed: 1 }

/** Few different values, so that equals are common. */
const logits = fc
  .array(
    fc.integer({ min: -6, max: 6 }).map((x) => x / 2),
    { minLength: 2, maxLength: 12 },
  )
  .map((xs) => Float32Array.from(xs))

const sampling: fc.Arbitrary<Sampling> = fc.record({
  temperature: fc.constantFrom(0.1, 0.5, 1, 2),
  topK: fc.nat(14),
  topP: fc.constantFrom(0.05, 0.3, 0.5, 0.8, 0.95, 1),
  seed: fc.nat(),
})

const softmax = (xs: ReadonlyArray<number>): ReadonlyArray<number> => {
  const weights = xs.map((x) => Math.exp(x - Math.max(...xs)))
  const sum = weights.reduce((a, b) => a + b)
  return weights.map((w) => w / sum)
}

/** Temperature, then TopKLogitsWarper, then TopPLogitsWarper, each filling −Infinity; null too near to a boundary. */
const warped = (scores: Float32Array, s: Sampling): ReadonlyArray<number> | null => {
  let xs = Array.from(scores, (x) => x / s.temperature)
  if (s.topK > 0) {
    const kth = [...xs].sort((a, b) => b - a)[Math.min(s.topK, xs.length) - 1]!
    xs = xs.map((x) => (x < kth ? -Infinity : x))
  }
  if (s.topP < 1) {
    const order = xs.map((_, i) => i).sort((a, b) => xs[a]! - xs[b]! || b - a)
    const sorted = softmax(order.map((i) => xs[i]!))
    let below = 0
    const removed: Array<number> = []
    for (const [rank, id] of order.entries()) {
      below += sorted[rank]!
      if (Math.abs(below - (1 - s.topP)) < 1e-9) return null
      if (below <= 1 - s.topP && rank < order.length - 1) removed.push(id)
    }
    xs = xs.map((x, i) => (removed.includes(i) ? -Infinity : x))
  }
  return softmax(xs)
}

test('probabilities are those of transformers: temperature, top-k with its equals, top-p', () => {
  fc.assert(
    fc.property(logits, sampling, (scores, s) => {
      const expected = warped(scores, s)
      fc.pre(expected !== null)
      const got = Array.from(scores, () => 0)
      for (const { id, probability } of distribution(scores, s)) got[id] = probability
      got.forEach((p, id) => assert.ok(Math.abs(p - expected[id]!) < 1e-9, `${got} ${expected}`))
    }),
    runs(500),
  )
})

test('a draw follows its probabilities, whatever of sequence and position varies', () => {
  const scores = Float32Array.of(1, -1, 0, 2, 0)
  const s: Sampling = { ...plain, topK: 4, temperature: 1.5 }
  const count = 20_000
  for (const place of [
    (i: number) => ({ sequence: i, position: 3 }),
    (i: number) => ({ sequence: 3, position: i }),
  ]) {
    const seen = Array.from(scores, () => 0)
    for (let i = 0; i < count; i++) seen[choose(scores, s, place(i))!]! += 1
    warped(scores, s)!.forEach((p, id) => {
      const deviation = Math.sqrt(count * p * (1 - p))
      assert.ok(
        Math.abs(seen[id]! - count * p) <= 4 * deviation,
        `${id}: ${seen[id]} of ${count * p}`,
      )
    })
  }
})

test('a draw is a function of seed, sequence and position', () => {
  const scores = new Float32Array(1000)
  const at = (seed: number, sequence: number, position: number) =>
    choose(scores, { ...plain, seed }, { sequence, position })
  assert.equal(at(1, 2, 3), at(1, 2, 3))
  const others = [at(1, 2, 3), at(2, 2, 3), at(1, 3, 3), at(1, 2, 4), at(1, 3, 2)]
  assert.equal(new Set(others).size, others.length)
})

test('the likeliest is the lowest of equals, and temperature 0 or one candidate give it', () => {
  assert.equal(likeliest(Float32Array.of(1, 3, 3, -Infinity)), 1)
  fc.assert(
    fc.property(logits, fc.nat(), (scores, seed) => {
      const best = scores.indexOf(Math.max(...scores))
      const at = { sequence: seed, position: 0 }
      assert.equal(choose(scores, { ...plain, temperature: 0, seed }, at), best)
      assert.equal(choose(scores, { ...plain, topP: 1e-9, seed }, at), best)
      const sole = [...scores].filter((x) => x === scores[best]).length === 1
      if (sole) assert.equal(choose(scores, { ...plain, topK: 1, seed }, at), best)
    }),
    runs(200),
  )
})

const without = (scores: Float32Array, banned: ReadonlyArray<number>): Float32Array =>
  constrained(scores, [], unconstrained, banned)

test('banned ids are never chosen and logits stay as they were', () => {
  fc.assert(
    fc.property(logits, sampling, fc.nat(11), fc.nat(), (scores, s, id, sequence) => {
      fc.pre(id < scores.length)
      const before = scores.slice()
      for (const temperature of [0, s.temperature]) {
        const got = choose(without(scores, [id]), { ...s, temperature }, { sequence, position: 1 })
        assert.ok(got !== null && got !== id && got < scores.length)
      }
      assert.deepEqual(scores, before)
    }),
    runs(200),
  )
})

test('nothing is chosen by numbers that are none', () => {
  const at = { sequence: 0, position: 0 }
  for (const temperature of [0, 1]) {
    const s = { ...plain, temperature }
    assert.equal(choose(Float32Array.of(1, NaN), s, at), null)
    assert.equal(choose(Float32Array.of(NaN, 1), s, at), null)
    assert.equal(choose(Float32Array.of(-Infinity, -Infinity), s, at), null)
    assert.equal(choose(Float32Array.of(Infinity, 1), s, at), null)
    assert.equal(choose(Float32Array.of(-Infinity, 1), s, at), 1)
    assert.equal(choose(without(Float32Array.of(1), [0]), s, at), null)
  }
})
