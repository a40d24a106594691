/** A short part of scripts/fuzz.ts: damaged files are refused or mean the same, by seed and number. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { random } from '../src/data/random.ts'
import type { Kind } from '../scripts/fuzz-kinds.ts'
import { damagedBytes, damagedJson, damagedText } from '../scripts/fuzz-mutate.ts'
import { fuzz } from '../scripts/fuzz-run.ts'

const counts: Readonly<Record<Kind, number>> = {
  ...{ yaml: 150, config: 150, tokenizer: 60, safetensors: 150 },
  ...{ plan: 8, checkpoint: 6 },
}

for (const [kind, count] of Object.entries(counts) as ReadonlyArray<[Kind, number]>)
  test(`${count} damaged inputs of the kind ${kind}`, async () => {
    const { accepted, refused } = await fuzz(kind, 7, 0, count)
    assert.equal(accepted + refused, count)
    assert.ok(refused > 0)
  })

test('the same seed does the same damage, another seed another', () => {
  const text = '{"a": [1, 2, {"b": "c"}], "d": 4}'
  for (const damage of [damagedText, damagedJson]) {
    const all = Array.from({ length: 40 }, (_, n) => damage(random(1, n), text))
    assert.deepEqual(
      all,
      all.map((_, n) => damage(random(1, n), text)),
    )
    assert.ok(new Set(all).size > 20)
  }
  const bytes = new Uint8Array(64)
  assert.deepEqual(damagedBytes(random(3), bytes), damagedBytes(random(3), bytes))
  assert.deepEqual(bytes, new Uint8Array(64))
})

test('what is wrongly accepted is found, and named by kind, number and seed', async () => {
  const { kinds } = await import('../scripts/fuzz-kinds.ts')
  const held = kinds.yaml
  Object.assign(kinds, { yaml: async () => async () => assert.fail('changed in silence') })
  try {
    await assert.rejects(fuzz('yaml', 7, 3, 1), /^Error: yaml 3 of seed 7: .*changed in silence/)
  } finally {
    Object.assign(kinds, { yaml: held })
  }
})
