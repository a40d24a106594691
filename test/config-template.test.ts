/** Templates: Python's str.format as far as Ludwig uses it. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'

import { columnName, parseTemplate, type TemplatePart } from '../src/config/index.ts'

const parts = (text: string): ReadonlyArray<TemplatePart> | string =>
  E.getOrElseW((said: string) => said)(parseTemplate(text))

test('literals and fields come in order', () => {
  assert.deepEqual(parts(''), [])
  assert.deepEqual(parts('a {b}\n{c d:.2f}{__task__}'), [
    { literal: 'a ' },
    { field: 'b', spec: '' },
    { literal: '\n' },
    { field: 'c d', spec: '.2f' },
    { field: '__task__', spec: '' },
  ])
  assert.deepEqual(parts('{{"a": {x}}}'), [
    { literal: '{"a": ' },
    { field: 'x', spec: '' },
    { literal: '}' },
  ])
  assert.deepEqual(parts('{{{x}}}'), [{ literal: '{' }, { field: 'x', spec: '' }, { literal: '}' }])
  assert.deepEqual(parts('{x:a:b}'), [{ field: 'x', spec: 'a:b' }])
})

test('what str.format or Ludwig refuses is refused', () => {
  const refused: ReadonlyArray<readonly [string, RegExp]> = [
    ['{', /^the placeholder `\{` has no closing/],
    ['a } b', /^a `\}` at character 3 closes no placeholder/],
    ['{}', /^the placeholder `\{\}` names no column/],
    ['{:.2f}', /names no column/],
    ['{0}', /^the placeholder `\{0\}` is a position/],
    ['{a.b}', /^the placeholder `\{a\.b\}` has `\.` in its name/],
    ['{a[0]}', /^the placeholder `\{a\[0\]\}` has `\[` in its name/],
    ['{a!r}', /conversion/],
    ['{a:{b}}', /^the placeholder `\{a:\{b\}` has a brace in its format/],
    ['{a{b}', /has `\{` in its name/],
    ['{"a": {"b": 1}}', /brace in its format/],
    ['{a\nb', /^the placeholder `\{a…` has no closing/],
  ]
  for (const [text, said] of refused) assert.match(String(parts(text)), said)
})

const doubled = (text: string): string => text.replace(/[{}]/g, (brace) => brace + brace)

const part: fc.Arbitrary<TemplatePart> = fc.oneof(
  fc.record({ literal: fc.string({ minLength: 1 }) }, { noNullPrototype: true }),
  fc.record(
    {
      field: fc.stringMatching(/^[a-zA-Z_][a-zA-Z0-9_ ]*$/),
      spec: fc.constantFrom('', '.2f', '>10', 'a:b'),
    },
    { noNullPrototype: true },
  ),
)

const written = (p: TemplatePart): string =>
  'literal' in p ? doubled(p.literal) : `{${p.field}${p.spec === '' ? '' : `:${p.spec}`}}`

const joined = (all: ReadonlyArray<TemplatePart>): ReadonlyArray<TemplatePart> =>
  all.reduce<ReadonlyArray<TemplatePart>>((so, p) => {
    const last = so.at(-1)
    return last !== undefined && 'literal' in last && 'literal' in p
      ? [...so.slice(0, -1), { literal: last.literal + p.literal }]
      : [...so, p]
  }, [])

test('a written template reads back as its parts, neighbouring literals joined', () => {
  fc.assert(
    fc.property(fc.array(part), (all) => {
      assert.deepEqual(parts(all.map(written).join('')), joined(all))
    }),
  )
})

test('any text is parsed or refused with a sentence', () => {
  const braces = fc.array(fc.constantFrom(...'{}:!.[]0a \n')).map((a) => a.join(''))
  fc.assert(
    fc.property(braces, (text) => {
      const parsed = parseTemplate(text)
      if (E.isLeft(parsed)) assert.match(parsed.left, /^(the placeholder|a `\}`) /)
      else if (!/[{}]/.test(text)) assert.equal(parsed.right.length, text === '' ? 0 : 1)
    }),
    { numRuns: 1000 },
  )
})

test("a column's name in templates has none of the characters that str.format gives a meaning", () => {
  assert.equal(columnName('a.b (c): "d" [\'e\'] {f}'), 'a_b _c__ _d_ __e__ _f_')
  assert.equal(columnName('plain_name 1'), 'plain_name 1')
})
