/** JSON cells against JSON.parse: what one reads, the other reads; what one refuses, the other refuses. */
import { test } from 'node:test'
import assert from 'node:assert/strict'
import * as E from 'fp-ts/lib/Either.js'
import { jsonCell } from '../src/data/json-cell.ts'
import { elements, members } from '../src/data/json-scan.ts'
import { fc, runs } from './fc.ts'
import { right } from './right.ts'

const value = fc.jsonValue({ maxDepth: 4, noUnicodeString: false })

/** Blanks where JSON allows them. */
const spaced = (text: string): string =>
  text.replace(/"(?:[^"\\]|\\.)*"|[{}[\],:]/g, (part) =>
    part.startsWith('"') ? part : ` ${part}\n`,
  )

/** A character is put in, taken out or doubled. */
const damaged = fc
  .tuple(
    value,
    fc.nat(),
    fc.constantFrom('', '"', ',', '{', ']', ':', '\\', '0', '.', '-', 'e', '\n'),
  )
  .map(([v, at, char]) => {
    const text = JSON.stringify(v)
    const i = at % (text.length + 1)
    return text.slice(0, i) + char + text.slice(i + (at % 2))
  })

const parses = (text: string): boolean =>
  E.isRight(
    E.tryCatch(
      () => JSON.parse(text) as unknown,
      () => null,
    ),
  )

test('a nested value is the same value in the same order, without blanks', () => {
  fc.assert(
    fc.property(value, (v) => {
      const plain = JSON.stringify(v)
      const { cell } = right(jsonCell(spaced(plain).trim()))
      if (typeof v === 'object' && v !== null) assert.equal(cell, plain)
      else if (typeof v === 'number') assert.equal(Number(cell), v + 0)
      else assert.equal(cell, v)
    }),
    runs(300),
  )
})

test('text is a cell exactly when it is JSON', () => {
  fc.assert(
    fc.property(
      fc.oneof(damaged, fc.string({ unit: fc.constantFrom(...'{}[]",:0-1e.tru\\ ') })),
      (t) => {
        const text = t.trim()
        const got = jsonCell(text)
        const beyond = E.isLeft(got) && got.left.includes('beyond')
        assert.equal(E.isRight(got) || beyond, parses(text), text)
      },
    ),
    runs(2000),
  )
})

test('members and elements stand where JSON.parse finds them', () => {
  const object = fc.dictionary(fc.string({ unit: 'grapheme' }), value)
  fc.assert(
    fc.property(object, (o) => {
      const text = spaced(JSON.stringify(o)).trim()
      const { items, end } = right(members(text, 0))
      assert.equal(end, text.length)
      const read = items.map(({ key, value: { from, to } }) => [
        key,
        JSON.parse(text.slice(from, to)),
      ])
      assert.deepEqual(read, Object.entries(JSON.parse(text) as object))
      const list = spaced(JSON.stringify(Object.values(o))).trim()
      assert.deepEqual(
        right(elements(list, 0)).items.map(
          ({ from, to }) => JSON.parse(list.slice(from, to)) as unknown,
        ),
        JSON.parse(list),
      )
    }),
    runs(300),
  )
})

test('depth and length are no matter', () => {
  const deep = `${'['.repeat(1e5)}${']'.repeat(1e5)}`
  assert.equal(right(jsonCell(deep)).cell, deep)
  assert.ok(E.isLeft(jsonCell('['.repeat(1e5))))
  const long = JSON.stringify({ a: '"'.repeat(1e6) })
  assert.equal(right(jsonCell(long)).cell, long)
})
