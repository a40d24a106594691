/** YAMLs in the form of Ludwig's: those that compile stay so, and what is refused says by which key and why. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { parseConfig } from '../src/config/index.ts'
import { outcomeOf } from '../scripts/ludwig-table.ts'

const folder = path.join(import.meta.dirname, 'fixtures', 'ludwig')
const textOf = (name: string): string => fs.readFileSync(path.join(folder, `${name}.yaml`), 'utf8')

/** Nothing in these may be refused. */
const accepted = [
  'docs_getting_started',
  'docs_in_context_zero_shot',
  'docs_reference',
  'docs_text_generation',
  'docs_user_guide_finetuning',
  'llama2_7b_4bit',
  'peft_pissa_rslora',
  'readme',
  'text_generation',
]

test('what is accepted stays accepted, and every refusal names a key and a way out', () => {
  for (const file of fs.readdirSync(folder).filter((n) => n.endsWith('.yaml'))) {
    const name = path.basename(file, '.yaml')
    const parsed = parseConfig(textOf(name), { file })
    if (E.isRight(parsed)) continue
    assert.ok(!accepted.includes(name), `${name}: ${parsed.left[0].message}`)
    for (const i of parsed.left) {
      assert.ok(i.path !== undefined && i.line !== undefined, `${name}: ${i.message}`)
      assert.ok((i.hint ?? i.expected) !== undefined, `${name}: ${i.message}`)
    }
  }
})

test('a zero-shot job compiles, and where only the base is unknown the rest is judged', () => {
  assert.deepEqual(outcomeOf(textOf('docs_in_context_zero_shot')), { _tag: 'compiles' })
  assert.equal(outcomeOf(textOf('text_generation'))._tag, 'with another base')
  assert.equal(outcomeOf(textOf('vlm_finetuning'))._tag, 'refused')
})
