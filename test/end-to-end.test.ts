/** The bundled job, cut short, through the command and the embedded engine: it learns, and what it leaves can be used. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const root = path.join(import.meta.dirname, '..')
const job = path.join(root, 'examples', 'code-instructions')
const run = promisify(execFile)
const tunec = async (...args: ReadonlyArray<string>): Promise<string> => {
  const command = ['--import', 'tsx', path.join(root, 'src', 'cli', 'main.ts'), ...args]
  return (await run(process.execPath, command, { cwd: root, maxBuffer: 1 << 26 })).stdout
}

/** Three epochs over the 100 rows, the adapter also merged. */
const shortened = async (folder: string): Promise<string> => {
  const yaml = await fs.readFile(path.join(job, 'qlora.yaml'), 'utf8')
  const file = path.join(folder, 'short.yaml')
  await fs.writeFile(
    file,
    yaml
      .replace('base_model: base ', `base_model: ${path.join(job, 'base')} `)
      .replace('dataset: data.csv ', `dataset: ${path.join(job, 'data.csv')} `)
      .replace('epochs: 30 ', 'epochs: 3 ')
      .replace('  r: 8 ', '  postprocessor: { merge_adapter_into_base_model: true }\n  r: 8 '),
  )
  return file
}

test('train, evaluate and generate on the bundled job', async () => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-e2e-'))
  try {
    const config = await shortened(folder)
    await tunec('train', config, '--output-directory', folder)
    const results = path.join(folder, 'experiment_run')
    const statistics = JSON.parse(
      await fs.readFile(path.join(results, 'training_statistics.json'), 'utf8'),
    ) as { readonly validation: { readonly output: { readonly loss: ReadonlyArray<number> } } }
    const losses = statistics.validation.output.loss
    assert.equal(losses.length, 3)
    assert.ok(losses[2]! < 0.5 && losses[2]! < losses[0]!, losses.join())
    const model = path.join(results, 'model')
    for (const file of [
      'model_weights/adapter_config.json',
      'model_weights/adapter_model.safetensors',
      'merged_model/model.safetensors',
    ])
      assert.ok((await fs.stat(path.join(model, file))).size > 100, file)
    const models = path.join(folder, 'models')
    await tunec('compile', config, '--emit', models)
    assert.deepEqual(
      (await fs.readdir(models)).toSorted(),
      ['decode', 'evaluate', 'micro', 'prefill', 'update'].map((f) => `${f}.onnx`),
    )
    const evaluated = await tunec('evaluate', results, '--split', 'validation')
    assert.match(evaluated, /loss/)
    const prompt =
      '### Instruction:\nWrite a function that adds 12 to its argument.\n\n### Response:\n'
    assert.match(await tunec('generate', results, '--prompt', prompt), /def add_12\(x\):/)
  } finally {
    await fs.rm(folder, { recursive: true })
  }
})
