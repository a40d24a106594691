/** The bundled base in NF4 on the ONNX backend: answers by batch and cache are those of every token computed anew. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import type { Session } from '../backends/backend.ts'
import { onnx } from '../backends/onnx/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { generateTexts, generationPlan, optionsOf, type Grid } from '../src/generate/index.ts'
import { findBase } from '../src/models/base.ts'
import { techniquesOf } from '../src/plan/techniques.ts'
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts'
import { initialize } from '../src/train/initialize.ts'
import { openBase } from '../src/train/state.ts'
import { recomputed } from './generate-model.ts'
import { right } from './right.ts'

const folder = path.join(import.meta.dirname, '..', 'examples', 'code-instructions')
const file = path.join(folder, 'qlora.yaml')
const { config } = right(parseConfig(fs.readFileSync(file, 'utf8'), { file }))
const base = right(findBase(config.base_model, folder))

const sessionOf = async (g: Grid): Promise<Session> => {
  const { program } = right(generationPlan(base, techniquesOf(config), g))
  const session = right(await onnx.prepare(program)())
  right(await initialize(session, program, right(await openBase(base, program)()), 42)())
  return session
}

test('answers of the bundled base do not depend on batch or cache', async () => {
  const tokenizer = right(loadTokenizer(base.folder!))
  const o = { ...optionsOf(config, base.spec, tokenizer), maxNew: 6 }
  const prompts = ['def add(x, y):\n', 'for i in range(10):\n    ', 'import']
  const [g, sole] = [
    { batch: 3, prompt: 16, capacity: 24 },
    { batch: 1, prompt: 24, capacity: 24 },
  ]
  const session = await sessionOf(g)
  const got = right(await generateTexts(session, g, tokenizer, prompts, o)())
  right(await session.close()())
  const slow = await sessionOf(sole)
  for (const [i, prompt] of prompts.entries()) {
    const ids = tokenizer.encode(prompt, { addBos: true })
    assert.deepEqual(got[i]!.ids, await recomputed(slow, sole, ids, o.maxNew, o.eosIds))
    assert.equal(got[i]!.text, tokenizer.decode(got[i]!.ids))
    assert.equal(got[i]!.prompt, prompt)
  }
  right(await slow.close()())
})
