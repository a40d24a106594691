/** The bundled job on TensorFlow goes as it goes on the CPU engine, gives everything back, and the examples for tfjs programs run. */
import './tfjs-cpu.ts'
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { load } from '../backends/tfjs/load.ts'
import { dsl } from '../src/index.ts'
import { right } from './right.ts'
import { noTfjs } from './tfjs-here.ts'

const skip = noTfjs
const root = path.join(import.meta.dirname, '..')

/** The whole job has 30; after five most held-out rows are answered. */
const EPOCHS = 5

/** Losses of the steps, and the figures of the held-out rows. */
const trained = async (backend: 'onnx' | 'tfjs') => {
  const folder = path.join(root, 'examples', 'code-instructions')
  const config = parse(fs.readFileSync(path.join(folder, 'qlora.yaml'), 'utf8')) as {
    trainer: { epochs: number }
  }
  config.trainer.epochs = EPOCHS
  const out = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-tfjs-'))
  const losses: number[] = []
  const plan = right(dsl.compile({ ...config }, { folder }))
  const result = right(
    await dsl.train(plan, {
      backend,
      resultsFolder: out,
      onEvent: (e) => {
        if (e._tag === 'step') losses.push(e.loss)
      },
    })(),
  )
  const metrics = result.metrics.test!
  fs.rmSync(out, { recursive: true })
  const { loss, token_accuracy: tokens, sequence_accuracy: whole } = metrics
  return { losses, figures: [loss!, tokens!], exact: whole! }
}

test(
  'the bundled job goes step by step as on onnxruntime, to the same exact match; nothing is left in tf.memory()',
  { skip },
  async () => {
    const { engine, backend } = right(load())
    const held = () => [
      backend.binding.getNumOfTensors(),
      (engine as unknown as { memory: () => { numTensors: number } }).memory().numTensors,
    ]
    const before = held()
    const [mine, theirs] = [await trained('tfjs'), await trained('onnx')]
    assert.deepEqual(held(), before)
    assert.equal(mine.losses.length, theirs.losses.length)
    assert.equal(mine.losses.length, EPOCHS * 7)
    const all = [mine, theirs].map((x) => [...x.losses, ...x.figures]) as [number[], number[]]
    all[0].forEach((x, i) =>
      assert.ok(Math.abs(x / all[1][i]! - 1) < 1e-3, `${i}: ${x} and ${all[1][i]}`),
    )
    assert.equal(mine.exact, theirs.exact)
    assert.ok(mine.exact > 0.5, `${mine.exact}`)
  },
)

test('examples for tfjs programs run as their first line says', { skip }, () => {
  for (const [file, shows] of [
    [
      'tfjs-layers',
      /^weight +16384 bytes .*, 2120 in NF4\nloss +0\.[1-9]\d* before, 0\.00\d+ after/m,
    ],
    ['tfjs-answer', /^answer +\S[^]*^tf\.memory\(\) 0 tensors, 0 bytes are held$/m],
  ] as const) {
    const name = `examples/${file}.ts`
    const text = fs.readFileSync(path.join(root, name), 'utf8')
    assert.equal(text.split('\n')[0], `// npx tsx ${name}`)
    const r = spawnSync(process.execPath, ['--import', 'tsx', name], {
      cwd: root,
      encoding: 'utf8',
    })
    assert.equal(r.status, 0, r.stderr)
    assert.match(r.stdout, shows)
  }
})
