/** Packing: every token has its place, no row is overfull, and only the next token of the same sample is scored. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as E from 'fp-ts/lib/Either.js'
import { order } from '../src/data/order.ts'
import { pack, packBatch, type MicroBatch } from '../src/data/pack.ts'
import type { Sample } from '../src/data/samples.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const ids = (maxLength: number, minLength = 0) =>
  fc.array(fc.integer({ min: 0, max: 9 }), { minLength, maxLength })

/** Few different ids, 0 and 2 among them, so that nothing can be told from an id. */
const batch = fc.array(fc.record({ row: fc.nat(99), prompt: ids(9), target: ids(6, 1) }), {
  maxLength: 14,
})

const shape = fc.record({
  rows: fc.integer({ min: 1, max: 3 }),
  length: fc.integer({ min: 15, max: 40 }),
})

interface Placed {
  readonly tokens: ReadonlyArray<number>
  readonly targets: ReadonlyArray<number>
}

/** The samples of a micro-batch as its arrays have them, found by walking each row from the left. */
const read = (m: MicroBatch, length: number): ReadonlyArray<Placed> => {
  const found: Array<{ tokens: Array<number>; targets: Array<number> }> = []
  for (let start = 0; start < m.tokens.length; start += length) {
    let segment = 0
    let tail = false
    for (let i = start; i < start + length; i++) {
      if (m.segments[i] === 0) {
        tail = true
        assert.deepEqual([m.tokens[i], m.positions[i], m.targets[i]], [0, 0, -100])
        continue
      }
      assert.ok(!tail, 'a sample behind the tail')
      if (m.segments[i] !== segment) {
        assert.equal(m.segments[i], segment + 1, 'segments count from 1')
        segment++
        found.push({ tokens: [], targets: [] })
      }
      const sample = found.at(-1)!
      assert.equal(m.positions[i], sample.tokens.length, 'positions restart')
      sample.tokens.push(m.tokens[i]!)
      sample.targets.push(m.targets[i]!)
    }
  }
  return found
}

/** What a sample's targets should be, from its definition. */
const targetsOf = ({ prompt, target }: Sample): ReadonlyArray<number> => {
  const all = [...prompt, ...target]
  return all.map((_, i) =>
    i + 1 < all.length && i + 1 >= prompt.length ? (all[i + 1] as number) : -100,
  )
}

test('every token of every sample stands once, and targets are the next tokens of the answer', () => {
  fc.assert(
    fc.property(batch, shape, (samples, { rows, length }) => {
      const micro = right(packBatch(samples, { rows, length }))
      const order = micro.flatMap((m) => m.samples)
      assert.deepEqual(
        order.toSorted((a, b) => a - b),
        samples.map((_, i) => i),
      )
      assert.deepEqual(
        micro.flatMap((m) => read(m, length)),
        order.map((i) => ({
          tokens: [...samples[i]!.prompt, ...samples[i]!.target],
          targets: targetsOf(samples[i]!),
        })),
      )
      for (const m of micro) {
        assert.equal(m.tokens.length, rows * length)
        assert.equal(m.scored, m.targets.filter((t) => t !== -100).length)
        assert.equal(m.tokensUsed, m.segments.filter((s) => s > 0).length)
      }
    }),
    runs(300),
  )
})

test('packing is close to the least number of rows and does not depend on anything else', () => {
  fc.assert(
    fc.property(batch, fc.integer({ min: 15, max: 60 }), (samples, rowLength) => {
      const rows = right(pack(samples, { rowLength }))
      const lengths = samples.map((s) => s.prompt.length + s.target.length)
      const total = lengths.reduce((sum, n) => sum + n, 0)
      const fills = rows.map((row) => row.reduce((sum, i) => sum + lengths[i]!, 0))
      assert.ok(fills.every((n) => n > 0 && n <= rowLength))
      // Two rows that are at most half full would have been one.
      assert.ok(fills.filter((n) => 2 * n <= rowLength).length <= 1)
      assert.ok(rows.length <= Math.ceil((2 * total) / rowLength) || rows.length <= 1)
      assert.deepEqual(right(pack(structuredClone(samples), { rowLength })), rows)
    }),
    runs(300),
  )
})

test('a sample longer than a row is an issue, one as long as a row is not', () => {
  const sample = (n: number): Sample => ({ row: 6, prompt: Array(n - 1).fill(3), target: [2] })
  const bad = packBatch([sample(8), sample(9)], { rows: 1, length: 8 })
  assert.ok(E.isLeft(bad))
  assert.match(bad.left.message, /row 7 of the data has 9 tokens and a batch row 8/)
  assert.equal(right(packBatch([sample(8)], { rows: 2, length: 8 })).length, 1)
})

test('two samples in one row, written out', () => {
  const samples = [
    { row: 0, prompt: [1, 5], target: [6, 2] },
    { row: 1, prompt: [1, 7, 8], target: [9, 9, 2] },
    { row: 2, prompt: [], target: [4, 2] },
  ]
  const [m, ...rest] = right(packBatch(samples, { rows: 1, length: 13 }))
  assert.equal(rest.length, 0)
  assert.deepEqual([...m!.tokens], [1, 7, 8, 9, 9, 2, 1, 5, 6, 2, 4, 2, 0])
  assert.deepEqual([...m!.positions], [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 0, 1, 0])
  assert.deepEqual([...m!.segments], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 0])
  assert.deepEqual([...m!.targets], [-100, -100, 9, 9, 2, -100, -100, 6, 2, -100, 2, -100, -100])
  assert.deepEqual([m!.samples, m!.scored, m!.tokensUsed], [[1, 0, 2], 6, 12])
})

test('a token’s key tells its sample and its place in it, and nothing of how the batch was cut', () => {
  fc.assert(
    fc.property(batch, shape, shape, (samples, a, b) => {
      const keys = (s: typeof a): ReadonlyMap<number, string> => {
        const found = new Map<number, string>()
        for (const m of right(packBatch(samples, s))) {
          m.segments.forEach((segment, i) => {
            if (segment === 0) return
            const place = `${m.tokens[i]} at ${m.positions[i]}`
            assert.ok(!found.has(m.keys[i]!), 'no two tokens have one key')
            found.set(m.keys[i]!, place)
          })
        }
        return found
      }
      assert.deepEqual([...keys(a)].toSorted(), [...keys(b)].toSorted())
    }),
    runs(200),
  )
})

test('no samples, no micro-batch', () => {
  assert.deepEqual(right(packBatch([], { rows: 2, length: 8 })), [])
})

test('an epoch visits every sample once, in an order of its own that seed and epoch give', () => {
  fc.assert(
    fc.property(fc.nat(60), fc.maxSafeInteger(), fc.nat(1000), (n, seed, epoch) => {
      const visits = order(n, seed, epoch, true)
      assert.deepEqual(
        visits.toSorted((a, b) => a - b),
        order(n, seed, epoch, false),
      )
      assert.deepEqual(order(n, seed, epoch, true), visits)
      if (n >= 30) {
        assert.notDeepEqual(order(n, seed, epoch + 1, true), visits)
        assert.notDeepEqual(order(n, seed - 1, epoch, true), visits)
      }
    }),
    runs(100),
  )
})

test('every order of four is drawn about equally often', () => {
  const counts = new Map<string, number>()
  for (let epoch = 0; epoch < 4800; epoch++) {
    const key = order(4, 7, epoch, true).join('')
    counts.set(key, (counts.get(key) ?? 0) + 1)
  }
  assert.equal(counts.size, 24)
  // 200 expected each, standard deviation 13.8.
  for (const [key, count] of counts) assert.ok(Math.abs(count - 200) < 60, `${key}: ${count}`)
})
