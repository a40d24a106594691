/** What a base's files contradict one another in is said by every command that opens the base. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { here } from './cli-child.ts'

const example = path.join(import.meta.dirname, '..', 'examples', 'code-instructions')

const job = `
model_type: llm
base_model: base
prompt: { template: "{instruction}" }
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
adapter: { type: lora, r: 2, dropout: 0 }
trainer: { type: finetune, epochs: 1, batch_size: 2, learning_rate: 0.001 }
compiler: { dataset: data.csv }
`

test('check, compile and a plan read again say which of two keys counts', async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-remarks-'))
  try {
    const base = path.join(folder, 'base')
    fs.cpSync(path.join(example, 'base'), base, { recursive: true })
    const file = path.join(base, 'config.json')
    const config = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>
    fs.writeFileSync(
      file,
      JSON.stringify({ ...config, rope_scaling: { rope_type: 'linear', factor: 2 } }),
    )
    const rows = fs.readFileSync(path.join(example, 'data.csv'), 'utf8').split('\n')
    fs.writeFileSync(path.join(folder, 'data.csv'), `${rows.slice(0, 9).join('\n')}\n`)
    const yaml = path.join(folder, 'job.yaml')
    fs.writeFileSync(yaml, job)
    const said = /both rope_scaling and rope_parameters: rope_scaling is used/
    const checked = await here('check', yaml)
    assert.equal(checked.code, 0, checked.err)
    assert.match(checked.err, said)
    const plan = path.join(folder, 'plan.json')
    const compiled = await here('compile', yaml, '--output', plan)
    assert.equal(compiled.code, 0, compiled.err)
    assert.match(compiled.err, said)
    assert.match((await here('compile', plan)).err, said)
  } finally {
    fs.rmSync(folder, { recursive: true })
  }
})
