/** Kinds of adapters against PEFT: its files are read, loss and gradients are its own in f64, what is written is what it wrote, and merging gives its weights. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { reference } from '../backends/reference/index.ts'
import type { Program, State } from '../ir/graph.ts'
import { ia3, lora } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { asTheBase } from '../src/adapter/carried.ts'
import { readAdapterConfig, type Adapter } from '../src/adapter/config.ts'
import { exportAdapter } from '../src/adapter/export.ts'
import { importAdapter } from '../src/adapter/import.ts'
import { mergeAdapter } from '../src/adapter/merge.ts'
import { trainedOf } from '../src/adapter/names.ts'
import { parseConfig } from '../src/config/index.ts'
import { findBase } from '../src/models/base.ts'
import { model } from '../src/models/llama.ts'
import { pipeline, type Techniques } from '../src/pipeline.ts'
import { adapterOf } from '../src/plan/adapter.ts'
import { initialize } from '../src/train/initialize.ts'
import { openFolder } from '../src/tensors/reader.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'
import { tensorsOf, type Stored } from './stored.ts'

const at = (...names: ReadonlyArray<string>): string =>
  path.join(import.meta.dirname, 'fixtures', 'adapters', ...names)

/** What the generator of the goldens says in Python, in the words of a config. */
const cases: Readonly<Record<string, string>> = {
  rslora: 'r: 4, alpha: 6, use_rslora: true',
  patterns:
    'r: 2, alpha: 3, target_modules: [q_proj, up_proj, mlp.down_proj], ' +
    'rank_pattern: { layers.1.*.q_proj: 4, up_proj: 1 }, alpha_pattern: { up_proj: 5 }',
  layers:
    'r: 2, alpha: 3, target_modules: [k_proj, o_proj], layers_to_transform: [1], layers_pattern: [layers]',
  regex: "r: 2, alpha: 3, target_modules: '.*\\.0\\..*(k|gate)_proj'",
  'bias-all': 'r: 2, alpha: 3, target_modules: [q_proj], bias_type: all',
  'bias-lora': 'r: 2, alpha: 3, target_modules: [q_proj], bias_type: lora_only',
  dora: 'r: 2, alpha: 3, target_modules: [q_proj, down_proj], use_dora: true',
  ia3: 'type: ia3',
  save: 'r: 2, alpha: 3, modules_to_save: [embed_tokens, norm]',
  'save-head': 'r: 2, alpha: 3, modules_to_save: [lm_head, mlp]',
}

const configured = (words: string): Adapter => {
  const text = `model_type: llm
base_model: base
input_features: [{ name: a, type: text }]
output_features: [{ name: b, type: text }]
trainer: { type: finetune }
adapter: { ${words.includes('ia3') ? '' : 'type: lora, dropout: 0, '}${words} }
`
  return adapterOf(right(parseConfig(text, { file: 'job.yaml' })).config.adapter!)
}

const base = right(findBase('base', at()))
const [rows, length] = [2, 8]
const batch = tensorsOf(at('batch.safetensors'))
const labels = batch.get('labels')!
const targets = Int32Array.from(labels, (_, i) => ((i + 1) % length === 0 ? -100 : labels[i + 1]!))
const feeds = {
  tokens: Int32Array.from(batch.get('ids')!),
  positions: Int32Array.from(labels, (_, i) => i % length),
  segments: new Int32Array(rows * length).fill(1),
  targets,
  inverse_count: Float32Array.of(1 / targets.filter((t) => t !== -100).length),
}

const programOf = (o: Adapter, ratioB?: number): Program => {
  const techniques: Techniques = {
    lora: o,
    quantize: null,
    compute: 'f32',
    optimizer: {
      beta1: 0.9,
      beta2: 0.999,
      eps: 1e-8,
      decay: 0.1,
      decoupled: true,
      clip: null,
      ...(ratioB === undefined ? {} : { ratioB }),
    },
    recompute: { _tag: 'none' },
  }
  const forward = right(model('kinds', base.spec, { rows, length, generate: null }))
  return right(compile(pipeline(techniques))(forward)).program
}

const sessionOf = async (program: Program) => {
  const session = right(await reference.prepare(program)())
  right(await initialize(session, program, right(await openFolder(at('base'))()), 1)())
  return session
}

const f32 = (bytes: Uint8Array): Float32Array => new Float32Array(bytes.slice().buffer)

const close = (what: string, a: ArrayLike<number>, b: ArrayLike<number>, bound: number): void =>
  assert.ok(relativeError(a, b) < bound, `${what}: relative error ${relativeError(a, b)}`)

const temporary = async (body: (folder: string) => Promise<void>): Promise<void> => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-kinds-'))
  await body(folder).finally(() => fs.rmSync(folder, { recursive: true, force: true }))
}

const json = (file: string): Record<string, unknown> =>
  JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>

/** PEFT keeps sets, whose order is none; and says nothing of a list of one, or of how values started. */
const alike = (value: unknown): unknown =>
  Array.isArray(value) ? [...(value as ReadonlyArray<unknown>)].map(String).toSorted() : value

const merges = async (name: string, golden: Stored, out: string): Promise<void> => {
  right(await mergeAdapter(at('base'), at(name), out)())
  const merged = tensorsOf(path.join(out, 'model.safetensors'))
  for (const [key, values] of golden)
    if (
      key.startsWith('merged.') &&
      (key !== 'merged.lm_head.weight' || merged.has('lm_head.weight'))
    )
      close(key, merged.get(key.slice('merged.'.length))!, values, 1e-6)
}

for (const [name, words] of Object.entries(cases))
  test(`${name}: PEFT's adapter is read, differentiated, written and merged as PEFT does`, async () =>
    temporary(async (folder) => {
      const golden = tensorsOf(at(name, 'golden.safetensors'))
      const o = configured(words)
      const program = programOf(o)
      const session = await sessionOf(program)
      right(await importAdapter(session, program, o, at(name))())
      const { loss } = right(await session.run('micro', feeds)())
      close('loss', loss!, golden.get('loss')!, 1e-6)
      const trained = trainedOf(program, o)
      const grads = [...golden.keys()].filter((k) => k.startsWith('grad.'))
      assert.deepEqual(trained.map((t) => `grad.${t.name}`).toSorted(), grads.toSorted())
      for (const t of trained) {
        const bytes = right(await session.read(`grad.${t.state.name}`)())
        close(t.name, f32(bytes), golden.get(`grad.${t.name}`)!, 2e-5)
      }
      const out = path.join(folder, 'out')
      const start = () => TE.right(new Uint8Array())
      const files = { baseModel: 'base', baseFolder: at('base'), carried: asTheBase, start }
      right(await exportAdapter({ session, program, lora: o, ...files }, out)())
      assert.deepEqual(
        tensorsOf(path.join(out, 'adapter_model.safetensors')),
        tensorsOf(at(name, 'adapter_model.safetensors')),
      )
      const peft = json(at(name, 'adapter_config.json'))
      for (const [key, value] of Object.entries(json(path.join(out, 'adapter_config.json'))))
        if (key !== 'base_model_name_or_path') assert.deepEqual(alike(value), alike(peft[key]), key)
      await merges(name, golden, path.join(folder, 'merged'))
      right(await session.close()())
    }))

/** Rows of A and columns of B may have changed signs together. */
const signed = (a: ArrayLike<number>, like: ArrayLike<number>, width: number): number[] =>
  Array.from({ length: a.length / width }, (_, row) => {
    let s = 0
    for (let k = 0; k < width; k++) s += a[row * width + k]! * like[row * width + k]!
    return Math.sign(s)
  })

const splits = { pissa: 'init_lora_weights: pissa', olora: 'init_lora_weights: olora' }
for (const [name, words] of Object.entries(splits))
  test(`${name}: starts as PEFT's, trains as it, and is written as a plain adapter of the whole base`, async () =>
    temporary(async (folder) => {
      const golden = tensorsOf(at(name, 'golden.safetensors'))
      const peft = tensorsOf(at(name, 'adapter_model.safetensors'))
      const o = configured(`r: 2, alpha: 3, target_modules: [q_proj, up_proj], ${words}`)
      const program = programOf(o)
      const session = await sessionOf(program)
      const read = async (n: string) => f32(right(await session.read(n)()))
      const first = async (s: State) => right(await session.read(s.name)())
      const starts = new Map<string, Uint8Array>()
      for (const { state } of trainedOf(program, o))
        starts.set(state.name, (await first(state)).slice())
      const { loss } = right(await session.run('micro', feeds)())
      close('loss', loss!, golden.get('loss')!, 1e-6)
      for (const { state, name: n } of trainedOf(program, o).filter((t) =>
        t.name.includes('lora_A'),
      )) {
        const b = n.replace('lora_A', 'lora_B')
        const s = signed(await read(state.name), peft.get(n)!, state.type.shape[1]!)
        const turned = (x: ArrayLike<number>, i: (at: number) => number) =>
          Array.from(x, (v, k) => v * s[i(k)]!)
        const rowOf = (k: number) => Math.floor(k / state.type.shape[1]!)
        const other = state.name.replace('lora_A', 'lora_B')
        close(n, turned(await read(state.name), rowOf), peft.get(n)!, 1e-5)
        close(
          b,
          turned(await read(other), (k) => k % s.length),
          peft.get(b)!,
          1e-5,
        )
        close(
          `grad ${n}`,
          turned(await read(`grad.${state.name}`), rowOf),
          golden.get(`grad.${n}`)!,
          1e-4,
        )
        close(
          `grad ${b}`,
          turned(await read(`grad.${other}`), (k) => k % s.length),
          golden.get(`grad.${b}`)!,
          1e-4,
        )
      }
      const descend = async () => {
        for (const { state } of trainedOf(program, o)) {
          const [p, g] = [await read(state.name), await read(`grad.${state.name}`)]
          right(
            await session.write(
              state.name,
              new Uint8Array(p.map((x, i) => x - 0.1 * g[i]!).buffer),
            )(),
          )
          right(await session.write(`grad.${state.name}`, new Uint8Array(4 * g.length))())
        }
      }
      await descend()
      right(await session.run('micro', feeds)())
      await descend()
      const trained = right(await session.run('micro', feeds)())['loss']!
      close('trained', trained, golden.get('trained.loss')!, 1e-5)
      const out = path.join(folder, 'out')
      const start = (s: State) => TE.right(starts.get(s.name)!)
      const files = { baseModel: 'base', baseFolder: at('base'), carried: asTheBase, start }
      right(await exportAdapter({ session, program, lora: o, ...files }, out)())
      right(await session.close()())
      const plain = right(readAdapterConfig(out))
      assert.ok(plain.kind === undefined)
      assert.deepEqual([plain.r, plain.alpha, plain.init], [4, 6, undefined])
      const again = programOf(plain)
      const over = await sessionOf(again)
      right(await importAdapter(over, again, plain, out)())
      close(
        'plain',
        right(await over.run('micro', feeds)())['loss']!,
        golden.get('plain.loss')!,
        1e-5,
      )
      right(await over.close()())
    }))

test('loraplus: three steps in which B learns four times as fast', async () => {
  const golden = tensorsOf(at('loraplus', 'golden.safetensors'))
  const o = configured('r: 2, alpha: 3')
  const program = programOf(o, 4)
  const session = await sessionOf(program)
  right(await importAdapter(session, program, o, at('loraplus'))())
  for (const step of [1, 2, 3]) {
    right(await session.run('micro', feeds)())
    const at = { lr: Float32Array.of(0.01), step: Float32Array.of(step) }
    right(await session.run('update', at)())
  }
  for (const t of trainedOf(program, o))
    close(
      t.name,
      f32(right(await session.read(t.state.name)())),
      golden.get(`final.${t.name}`)!,
      1e-5,
    )
  right(await session.close()())
})

test('settings that mean nothing of the model are named', () => {
  const refused: ReadonlyArray<readonly [string, string, RegExp]> = [
    ['target_modules: [q_proj, quarry]', 'target_modules', /^quarry/],
    ["target_modules: '.*(quarry)'", 'target_modules', /quarry/],
    ['layers_to_transform: [1, 2]', 'layers_to_transform', /^layer 2/],
    ['layers_to_transform: [1], layers_pattern: [blocks]', 'layers_to_transform', /^layer 1/],
    ['rank_pattern: { k_proj: 3 }', 'rank_pattern', /^k_proj/],
    ['alpha_pattern: { up_proj: 3 }', 'alpha_pattern', /^up_proj/],
    ['modules_to_save: [norm, pooler]', 'modules_to_save', /^pooler/],
    ['type: ia3, feedforward_modules: [up_proj]', 'feedforward_modules', /^up_proj/],
    ['target_modules: [up_proj], bias_type: lora_only', 'bias_type', /lora_only/],
  ]
  const forward = right(model('kinds', base.spec, { rows, length, generate: null }))
  for (const [words, of, target] of refused) {
    const o = configured(words)
    const made = compile([o.kind === 'ia3' ? ia3(o) : lora(o)])(forward)
    const reason = E.isLeft(made) ? made.left.reason : null
    assert.ok(reason?._tag === 'NoMatch', words)
    assert.equal(reason.of, of)
    assert.match(reason.target, target)
  }
})
