/** The text of an answer while it grows: what is given out is never taken back, and together it is the whole answer. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { growing, type Decode } from '../src/serve/text.ts'
import { fc, runs } from './fc.ts'

/** Ids are bytes of UTF-8. */
const bytes: Decode = (ids) => new TextDecoder().decode(Uint8Array.from(ids))

const words = ['', ' a', ' stop', 'st', 'op', ' ', 'ä', 'b']
/** Ids are words, id 0 is left out, and the first space of a text is dropped, as by SentencePiece. */
const pieces: Decode = (ids) =>
  ids
    .map((i) => words[i]!)
    .join('')
    .replace(/^ /, '')

const grown = (decode: Decode, ids: ReadonlyArray<number>, stops: ReadonlyArray<string>) => {
  const text = growing(decode, stops)
  const parts: Array<string> = []
  for (const id of ids) {
    const { more, stopped } = text.add(id)
    parts.push(more)
    if (stopped) return { parts, stopped, text: text.text() }
  }
  parts.push(text.rest())
  return { parts, stopped: false, text: text.text() }
}

const cut = (whole: string, stops: ReadonlyArray<string>): string =>
  whole.slice(
    0,
    stops.reduce((m, s) => {
      const at = whole.indexOf(s)
      return at < 0 ? m : Math.min(m, at)
    }, whole.length),
  )

test('parts put together are the whole text, up to the first stop string', () => {
  const stops = fc.uniqueArray(fc.constantFrom('stop', 'a', ' b', 'tost', 'ä'), { maxLength: 3 })
  fc.assert(
    fc.property(fc.array(fc.nat(words.length - 1), { maxLength: 12 }), stops, (ids, ss) => {
      const { parts, text } = grown(pieces, ids, ss)
      assert.equal(parts.join(''), cut(pieces(ids), ss))
      assert.equal(text, parts.join(''))
    }),
    runs(400),
  )
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme', maxLength: 12 }), (s) => {
      const ids = [...new TextEncoder().encode(s)]
      const { parts } = grown(bytes, ids, [])
      assert.equal(parts.join(''), s)
      assert.ok(!parts.some((p) => p.includes('\ufffd')), 'no half of a character is shown')
    }),
    runs(200),
  )
})

test('what may become a stop string is held back, and given when it does not', () => {
  const ids = [...new TextEncoder().encode('ab<en>c<end>x')]
  const { parts, stopped } = grown(bytes, ids, ['<end>'])
  assert.deepEqual(
    parts.filter((p) => p !== ''),
    ['a', 'b', '<en>', 'c'],
  )
  assert.ok(stopped)
  assert.deepEqual(grown(bytes, [...new TextEncoder().encode('a<e')], ['<end>']).parts.at(-1), '<e')
})

test('an answer that ends inside a character shows what a whole decoding shows', () => {
  const ids = [...new TextEncoder().encode('aä')].slice(0, 2)
  assert.equal(grown(bytes, ids, []).text, bytes(ids))
})
