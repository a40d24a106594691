/** Samples: what is scored, what is cut, and that every loss is noted. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as E from 'fp-ts/lib/Either.js'
import { buildSamples, dropped, type RowText, type SampleOptions } from '../src/data/samples.ts'
import type { Tokenizer } from '../src/tokenizer/tokenizer.ts'
import { letters } from './data-prepared.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const open: SampleOptions = { sequenceLimit: 100, targetBos: false, modelVocab: letters.vocabSize }

/** The samples as text and the notes of one row. */
const built = (
  prompt: string | null,
  target: string | null,
  options: Partial<SampleOptions> = {},
) => {
  const { samples, notes } = right(
    buildSamples(letters, [{ row: 3, prompt, target }], { ...open, ...options }),
  )
  return {
    texts: samples.map((s) => [letters.decode(s.prompt), letters.decode(s.target)]),
    notes: notes.map(({ row, kind, tokens }) => [row, kind, tokens]),
  }
}

test('BOS, prompt, answer, EOS; a BOS before the answer on request', () => {
  assert.deepEqual(built('ab', 'cd'), { texts: [['^ab', 'cd$']], notes: [] })
  assert.deepEqual(built('ab', 'cd', { targetBos: true }).texts, [['^ab', '^cd$']])
})

test('special tokens written in the text change nothing about what is scored', () => {
  assert.deepEqual(built('a$^b$', 'c$d').texts, [['^a$^b$', 'c$d$']])
})

test('the limits of prompt and answer cut on the right, and EOS stays', () => {
  assert.deepEqual(built('abcd', 'efg', { promptLimit: 3, targetLimit: 2 }), {
    texts: [['^ab', 'ef$']],
    notes: [
      [3, 'prompt cut', 2],
      [3, 'target cut', 1],
    ],
  })
})

test('the common limit eats the answer from its end', () => {
  assert.deepEqual(built('ab', 'cd', { sequenceLimit: 6 }).notes, [])
  assert.deepEqual(built('ab', 'cd', { sequenceLimit: 5 }), {
    texts: [['^ab', 'cd']],
    notes: [[3, 'sequence cut', 1]],
  })
  assert.deepEqual(built('ab', 'cd', { sequenceLimit: 3 }), {
    texts: [],
    notes: [
      [3, 'sequence cut', 3],
      [3, 'nothing scored', 0],
    ],
  })
})

test('a row without answer is left out, one without prompt gets the filler of Ludwig', () => {
  assert.deepEqual(built('ab', null), { texts: [], notes: [[3, 'empty target', 0]] })
  assert.deepEqual(built(null, 'c'), {
    texts: [['^<UNK>', 'c$']],
    notes: [[3, 'empty prompt filled', 0]],
  })
})

test('without BOS and prompt the first token of an answer cannot be predicted', () => {
  const bare: Tokenizer = { ...letters, bosId: null, encode: (text) => letters.encode(text) }
  const of = (target: string, sequenceLimit: number) =>
    right(buildSamples(bare, [{ row: 0, prompt: '', target }], { ...open, sequenceLimit }))
  assert.equal(of('a', 2).samples.length, 1)
  assert.deepEqual(of('a', 1).notes.at(-1)?.kind, 'nothing scored')
})

test('no EOS, and an id beyond the embedding, are issues', () => {
  const text: RowText = { row: 3, prompt: 'a', target: 'é' }
  const endless = buildSamples({ ...letters, eosIds: [] }, [text], open)
  assert.ok(E.isLeft(endless) && /no end-of-sequence/.test(endless.left[0].message))
  const beyond = buildSamples(letters, [text], { ...open, modelVocab: 200 }, (row) => ({
    line: row + 2,
  }))
  assert.ok(E.isLeft(beyond))
  assert.match(beyond.left[0].message, /"é" has id 233, and the model knows ids below 200/)
  assert.equal(beyond.left[0].line, 5)
  assert.ok(E.isLeft(buildSamples(letters, [text], { ...open, modelVocab: 233 })))
  assert.ok(E.isRight(buildSamples(letters, [text], { ...open, modelVocab: 234 })))
  for (const id of [-1, -100, 1.5, NaN]) {
    const odd: Tokenizer = { ...letters, encode: () => [id], decode: () => '' }
    const refused = buildSamples(odd, [text], open)
    assert.ok(E.isLeft(refused) && refused.left[0].message.includes(`has id ${id},`))
  }
})

test('every token of a row is in its sample or counted as lost, and every row is kept or dropped', () => {
  const text = fc.option(fc.string({ unit: fc.constantFrom('a', 'b', '$', '^'), maxLength: 12 }))
  const limit = fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined })
  fc.assert(
    fc.property(
      fc.array(fc.record({ prompt: text, target: text })),
      fc.record({
        promptLimit: limit,
        targetLimit: limit,
        sequenceLimit: fc.integer({ min: 1, max: 24 }),
        targetBos: fc.boolean(),
      }),
      (rows, { promptLimit, targetLimit, ...rest }) => {
        const texts = rows.map((row, i) => ({ row: i, ...row }))
        const { samples, notes } = right(
          buildSamples(letters, texts, {
            ...open,
            ...rest,
            ...(promptLimit === undefined ? {} : { promptLimit }),
            ...(targetLimit === undefined ? {} : { targetLimit }),
          }),
        )
        const gone = notes.filter(({ kind }) => dropped.has(kind)).map(({ row }) => row)
        assert.deepEqual(
          [...samples.map(({ row }) => row), ...gone].toSorted((a, b) => a - b),
          texts.map(({ row }) => row),
        )
        for (const { row, prompt, target } of samples) {
          const { prompt: p, target: t } = texts[row]!
          const whole = 1 + (p ?? '<UNK>').length + (rest.targetBos ? 1 : 0) + t!.length + 1
          const lost = notes.filter((n) => n.row === row).reduce((sum, n) => sum + n.tokens, 0)
          assert.equal(prompt.length + target.length + lost, whole)
          assert.ok(prompt.length + target.length <= rest.sequenceLimit)
          assert.ok(`^${p ?? '<UNK>'}`.startsWith(letters.decode(prompt)))
          assert.ok(target.length > 0)
        }
      },
    ),
    runs(200),
  )
})
