/** Values of a model's inside, against transformers' hidden_states and outputs of its modules. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { onnx } from '../backends/onnx/index.ts'
import { reference } from '../backends/reference/index.ts'
import {
  collectFrom,
  collectingProgram,
  gridFor,
  namesOf,
  type Collected,
  type Text,
} from '../src/activations/collect.ts'
import { npy, writeCollected } from '../src/activations/files.ts'
import type { Pool } from '../src/activations/pools.ts'
import { readSpec } from '../src/models/spec.ts'
import type { Plan } from '../src/plan/plan.ts'
import { load, open, relativeError, type Golden } from './golden.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'

const folder = (name: string): string => path.join(import.meta.dirname, 'fixtures', 'golden', name)

/** What a plan of the golden base says of its model, with an adapter or without. */
const planOf = (g: Golden, adapted: boolean): Plan => {
  const config = fs.readFileSync(path.join(folder(g.name), 'base', 'config.json'), 'utf8')
  const spec = right(readSpec(JSON.parse(config)))
  const { r, alpha, targets } = g.settings
  return {
    base: { name: g.name, folder: null, spec, packed: null, remarks: [] },
    techniques: {
      lora: adapted ? { r, alpha, dropout: 0, targets } : null,
      quantize: null,
      compute: 'f32',
    },
  } as unknown as Plan
}

const textsOf = (g: Golden): ReadonlyArray<Text> => {
  const ids = g.numbers.get('input_ids')!
  return g.settings.lengths.map((n, row) => ({
    row,
    ids: Array.from(ids.subarray(24 * row, 24 * row + n)),
  }))
}

const collectedBy = async (
  backend: typeof reference,
  name: string,
  names: ReadonlyArray<string>,
  pool: Pool,
): Promise<Collected> => {
  const g = load(name)
  const texts = textsOf(g)
  // Two texts share a row.
  const shapes = { ...gridFor(texts), rows: 1, length: 33 }
  const compiled = right(collectingProgram(planOf(g, false), shapes, names))
  const session = await open(backend, g, compiled.program, () => undefined)
  const done = right(await collectFrom(session, compiled, shapes, texts, pool)())
  right(await session.close()())
  return done
}

for (const [backend, name] of [
  [reference, 'llama2-tiny'],
  [onnx, 'llama3-tiny'],
] as const)
  test(`every layer of ${name} on ${backend.name} is transformers' own`, async () => {
    const want = tensorsOf(path.join(folder(name), 'activations.safetensors'))
    const patterns = [
      'hidden_states.*',
      'model.layers.0.self_attn.q_proj',
      'model.layers.1.mlp.down_proj',
    ]
    const all = await collectedBy(backend, name, patterns, 'none')
    assert.deepEqual(all.activations.map((a) => a.name).toSorted(), [...want.keys()].toSorted())
    for (const a of all.activations) {
      const off = relativeError(a.values, want.get(a.name)!)
      assert.ok(off < 2e-5, `${a.name}: off by ${off}`)
    }
  })

test('a pool is the last token, or the mean of all', async () => {
  const name = 'llama2-tiny'
  const want = tensorsOf(path.join(folder(name), 'activations.safetensors')).get('hidden_states.1')!
  const { lengths } = load(name).settings
  for (const pool of ['last', 'mean'] as const) {
    const [a] = (await collectedBy(reference, name, ['layers.0.mlp'], pool)).activations
    const width = a!.width
    let at = 0
    const by = lengths.flatMap((n) => {
      const token = (i: number) => Array.from(want.subarray((at + i) * width, (at + i + 1) * width))
      const mean = token(0).map((_, k) =>
        Array.from({ length: n }, (__, i) => token(i)[k]! / n).reduce((x, y) => x + y),
      )
      const one = pool === 'last' ? token(n - 1) : mean
      at += n
      return one
    })
    assert.ok(relativeError(a!.values, by) < 2e-5, pool)
  }
})

test('names: of parts, of modules with their adapter, of equations; what there is not is refused', () => {
  const g = load('llama2-tiny')
  const names = right(namesOf(planOf(g, true))).map(([n]) => n)
  for (const n of [
    'hidden_states.2',
    'embed',
    'layers.1.mlp',
    'head',
    'model.layers.0.self_attn.q_proj',
  ])
    assert.equal(names.filter((x) => x === n).length, 1, n)
  assert.ok(names.includes('layers.0.mlp.swiglu.0'))
  const none = collectingProgram(planOf(g, false), gridFor(textsOf(g)), ['layers.7.mlp'])
  assert.ok(E.isLeft(none) && /no value of the model is called/.test(none.left[0].message))
  // With its adapter a module's output is the sum, not the product.
  const shapes = { rows: 1, length: 24, generate: null }
  const { program } = right(
    collectingProgram(planOf(g, true), shapes, ['model.layers.0.self_attn.q_proj']),
  )
  const [f] = program.fns
  assert.equal(f!.eqns.find((e) => e.outs.includes(f!.outs[0]!.id))?.op, 'add')
})

const one: Collected = {
  rows: [4, 7],
  lengths: [2, 1],
  activations: [{ name: 'head', width: 3, values: Float32Array.of(1, 2, 3, 4, 5, 6) }],
}

test('files: npy has its header in whole 64 bytes, a form follows from the name', async () => {
  const bytes = npy(one.activations[0]!)
  const header = Buffer.from(bytes).readUInt16LE(8)
  assert.equal((10 + header) % 64, 0)
  assert.match(Buffer.from(bytes).toString('latin1', 10, 10 + header), /'shape': \(2, 3\), \} *\n$/)
  assert.deepEqual(
    [...new Float32Array(Uint8Array.from(bytes.subarray(10 + header)).buffer)],
    [1, 2, 3, 4, 5, 6],
  )
  const at = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-'))
  for (const name of ['a.safetensors', 'a.npy', 'a.parquet', 'folder'])
    right(await writeCollected(path.join(at, name), one, 'last')())
  assert.deepEqual([...tensorsOf(path.join(at, 'a.safetensors')).get('head')!], [1, 2, 3, 4, 5, 6])
  assert.ok(fs.existsSync(path.join(at, 'folder', 'head.npy')))
  assert.ok(E.isLeft(await writeCollected(path.join(at, 'a.txt'), one, 'last')()))
  fs.rmSync(at, { recursive: true })
})
