/** Laws of the config reader: what it prints it reads back, and no text takes it down. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'

import { renderConfig } from '../src/config/index.ts'
import type { Issue } from '../src/issue.ts'
import { config } from './config-arbitrary.ts'
import { base, parse } from './config-base.ts'
import { mutation } from './config-mutations.ts'

/** Without prototypes, which fast-check's records do not have. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

test('a rendered config reads back as itself', () => {
  const law = fc.property(config, (c) => {
    const again = pipe(
      parse(renderConfig(c)),
      E.map((parsed) => plain(parsed.config)),
    )
    assert.deepEqual(again, E.right(plain(c)))
  })
  fc.assert(law, { numRuns: 300 })
})

test('the prompt is printed as a block, and the order is that of the schema', () => {
  const text = pipe(
    parse(base),
    E.map(({ config: read }) => renderConfig(read)),
    E.getOrElse(() => ''),
  )
  assert.match(text, /^prompt:\n {2}template: \|\n {4}### Instruction:\n {4}\{instruction\}\n\n/m)
  assert.match(text, /^model_type: llm\nbase_model: models\/tiny\ninput_features:\n/)
  assert.match(
    text,
    /\n {2}optimizer:\n {4}type: adamw\n {4}betas:\n {6}- 0\.9\n {6}- 0\.95\n {4}eps: 1e-8\n/,
  )
})

const assertSensible = (i: Issue, text: string): void => {
  const lines = text.split('\n')
  const line = i.line ?? 0
  assert.ok(Number.isInteger(line) && line >= 1 && line <= lines.length, `line of ${show(i)}`)
  const width = lines[line - 1]?.length ?? 0
  const column = i.column ?? 0
  assert.ok(Number.isInteger(column) && column >= 1 && column <= width + 1, `column of ${show(i)}`)
  assert.match(i.message, /\S/)
  assert.doesNotMatch(show(i), /undefined|\[object|NaN,|\p{Cc}/u)
  assert.equal(i.file, 'job.yaml')
}

const show = (i: Issue): string => Object.values(i).join(' | ')

test('any damaged file is read or refused with issues that point into it', () => {
  const damaged = mutation.map((mutate) => mutate(base))
  const law = fc.property(damaged, (text) => {
    const parsed = parse(text)
    if (E.isLeft(parsed)) for (const i of parsed.left) assertSensible(i, text)
    else assert.ok(E.isRight(parse(renderConfig(parsed.right.config))))
  })
  fc.assert(law, { numRuns: 500 })
})

test('any text at all is read or refused', () => {
  const anything = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 200 }),
    fc
      .array(fc.constantFrom(...':-?[]{}&*!|>\'"%@#, \n\tab1'), { maxLength: 200 })
      .map((a) => a.join('')),
  )
  fc.assert(
    fc.property(anything, (text) => {
      const parsed = parse(text)
      assert.ok(E.isLeft(parsed))
      for (const i of parsed.left) assertSensible(i, text)
    }),
    { numRuns: 500 },
  )
})

/** Every key line of the base: its line number and the key. */
const keyLines = base.split('\n').flatMap((line, i) => {
  const key = /^[\s-]*([a-z_]{5,}):/.exec(line)?.[1]
  return key === undefined ? [] : [{ number: i + 1, line, key }]
})

test('a misspelt key is refused on its line, and the key that was meant is named', () => {
  assert.ok(keyLines.length > 25)
  for (const { number, line, key } of keyLines)
    for (const typo of [
      key.slice(0, -1),
      `${key.slice(0, 2)}x${key.slice(2)}`,
      key.toUpperCase(),
    ]) {
      const lines = base.split('\n')
      lines[number - 1] = line.replace(key, typo)
      const parsed = parse(lines.join('\n'))
      const found = E.isLeft(parsed) ? parsed.left.find((i) => i.line === number) : undefined
      assert.equal(found?.message, `unknown key \`${typo}\``)
      assert.match(found?.hint ?? '', new RegExp(`\`${key}\``))
    }
})
