/** What is written means the same outside: positions, end tokens and an own head go with adapters and models. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { findBase } from '../src/models/base.ts'
import { train } from '../src/train/train.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'
import { baseTensors, planFor, quiet, vocab, withBase, writeBase, yaml } from './train-job.ts'

type Json = Record<string, unknown>

const json = async (...at: ReadonlyArray<string>): Promise<Json> =>
  JSON.parse(await fs.readFile(path.join(...at), 'utf8')) as Json

const merging = '  r: 2\n  postprocessor: { merge_adapter_into_base_model: true }'
const scaling = 'model_parameters: { rope_scaling: { rope_type: linear, factor: 4 } }'

/** The YAML of a run that merges, or that trains all weights. */
const job = (kind: 'merged' | 'full', rest = ''): string =>
  kind === 'merged'
    ? yaml('', rest).replace('  r: 2', merging)
    : yaml('', rest).replace(/adapter:\n(  .*\n)+/, '')

interface Written {
  readonly adapter: string
  /** The merged model, or the fully trained one. */
  readonly model: string
}

const written = async (folder: string, kind: 'merged' | 'full', rest = ''): Promise<Written> => {
  const plan = planFor(folder, job(kind, rest))
  const done = right(await train(plan, reference, quiet(folder).options)())
  return { adapter: done.adapterFolder!, model: done.mergedFolder ?? done.adapterFolder! }
}

const changeBase = async (folder: string, config: Json, generation: Json | null): Promise<void> => {
  const base = path.join(folder, 'base')
  await fs.rm(base, { recursive: true })
  await writeBase(base, baseTensors(), config)
  if (generation !== null)
    await fs.writeFile(path.join(base, 'generation_config.json'), JSON.stringify(generation))
}

const card = (folder: string): Promise<string> =>
  fs.readFile(path.join(folder, 'README.md'), 'utf8')

test('an adapter names its base by an absolute folder, wherever the config lies', async () => {
  await withBase(async (folder) => {
    const { adapter } = await written(folder, 'merged')
    const config = await json(adapter, 'adapter_config.json')
    assert.equal(config['base_model_name_or_path'], path.join(folder, 'base'))
    const text = await card(adapter)
    assert.ok(text.includes(`from_pretrained(${JSON.stringify(path.join(folder, 'base'))}`), text)
  })
})

test('an adapter of scaled positions says so, and has the config.json to load its base with', async () => {
  await withBase(async (folder) => {
    await changeBase(
      folder,
      { eos_token_id: 2, rope_parameters: { rope_type: 'default', rope_theta: 500 } },
      null,
    )
    const { adapter } = await written(folder, 'merged', scaling)
    const text = await card(adapter)
    assert.match(text, /linear RoPE scaling by the factor 4/)
    assert.match(text, /config = AutoConfig.from_pretrained\("\."\)/)
    assert.match(text, /, config=config\)/)
    const { spec } = right(findBase(adapter, folder))
    assert.deepEqual([spec.rope.factor, spec.rope.theta, spec.context], [4, 500, 256])
  })
})

test('an adapter whose base says all that it needs is just an adapter', async () => {
  await withBase(async (folder) => {
    await changeBase(folder, { eos_token_id: [7, 2] }, { eos_token_id: 2 })
    const { adapter, model } = await written(folder, 'merged')
    const names = await fs.readdir(adapter)
    assert.ok(!names.includes('config.json') && !names.includes('generation_config.json'))
    assert.doesNotMatch(await card(adapter), /AutoConfig|GenerationConfig/)
    assert.deepEqual(await json(model, 'config.json'), await json(folder, 'base', 'config.json'))
    assert.deepEqual(await json(model, 'generation_config.json'), { eos_token_id: 2 })
  })
})

test('rope_scaling beside rope_parameters: one description is written, with the wavelengths that counted', async () => {
  await withBase(async (folder) => {
    await changeBase(
      folder,
      {
        rope_theta: 300,
        rope_scaling: { rope_type: 'linear', factor: 3 },
        rope_parameters: { rope_type: 'default', rope_theta: 500 },
      },
      null,
    )
    const { model } = await written(folder, 'merged', scaling)
    const config = await json(model, 'config.json')
    assert.equal('rope_scaling' in config, false)
    assert.deepEqual(config['rope_parameters'], { rope_theta: 300, rope_type: 'linear', factor: 4 })
  })
})

for (const kind of ['merged', 'full'] as const) {
  test(`${kind}: the end token of the training is in config and generation_config`, async () => {
    await withBase(async (folder) => {
      await changeBase(folder, { eos_token_id: 0 }, { eos_token_id: 0, bos_token_id: 1 })
      const { adapter, model } = await written(folder, kind)
      assert.equal((await json(model, 'config.json'))['eos_token_id'], 2)
      const generation = { eos_token_id: 2, bos_token_id: 1 }
      assert.deepEqual(await json(model, 'generation_config.json'), generation)
      if (kind === 'full') return
      assert.deepEqual(await json(adapter, 'generation_config.json'), generation)
      const text = await card(adapter)
      assert.match(text, /end with the token 2, at which the base alone does not stop/)
      assert.match(text, /base.generation_config = GenerationConfig.from_pretrained\("\."\)/)
    })
  })

  test(`${kind}: a base without generation_config gets its end token in config.json`, async () => {
    await withBase(async (folder) => {
      const { model } = await written(folder, kind)
      assert.equal((await json(model, 'config.json'))['eos_token_id'], 2)
    })
  })

  test(`${kind}: a head of its own under tie_word_embeddings is kept`, async () => {
    await withBase(async (folder) => {
      const base = path.join(folder, 'base')
      const tensors32 = baseTensors('F32')
      const embedding = tensors32[0]!
      // Its values from the last to the first.
      const values = new Float32Array(embedding.data.slice().buffer).toReversed()
      const data = new Uint8Array(values.buffer)
      const head = { ...embedding, name: 'lm_head.weight', data }
      await fs.rm(base, { recursive: true })
      await writeBase(base, [...tensors32, head], { eos_token_id: 2 })
      const { adapter, model } = await written(folder, kind)
      const tensors = tensorsOf(path.join(model, 'model.safetensors'))
      assert.equal((await json(model, 'config.json'))['tie_word_embeddings'], false)
      const before = tensorsOf(path.join(base, 'model.safetensors'))
      assert.equal(before.get('lm_head.weight')!.length, vocab * 16)
      if (kind === 'merged') {
        assert.deepEqual(tensors.get('lm_head.weight'), before.get('lm_head.weight'))
        assert.match(await card(adapter), /lm_head is not its embedding/)
        assert.equal((await json(adapter, 'config.json'))['tie_word_embeddings'], false)
      } else {
        assert.notDeepEqual(tensors.get('lm_head.weight'), before.get('lm_head.weight'))
        assert.notDeepEqual(tensors.get('lm_head.weight'), tensors.get('model.embed_tokens.weight'))
      }
      assert.equal(right(findBase(model, folder)).spec.tied, false)
    })
  })
}

test('a config.json with another dtype than its weights: said, and written models say their own', async () => {
  for (const kind of ['merged', 'full'] as const)
    await withBase(async (folder) => {
      const base = path.join(folder, 'base')
      await fs.rm(base, { recursive: true })
      const dtype = kind === 'merged' ? { torch_dtype: 'bfloat16' } : { dtype: 'bfloat16' }
      await writeBase(base, baseTensors('F32'), { eos_token_id: 2, ...dtype })
      const [said] = right(findBase('base', folder)).remarks
      assert.match(said!, /dtype bfloat16, and the weights are stored as float32: .* as stored/)
      const { adapter, model } = await written(folder, kind)
      const key = Object.keys(dtype)[0]!
      assert.equal((await json(model, 'config.json'))[key], 'float32')
      assert.deepEqual(right(findBase(model, folder)).remarks, [])
      if (kind === 'merged') assert.match(await card(adapter), /stored in another dtype/)
    })
})

test('weights trained beside an adapter: its card loads a 16-bit base in the 32 bits that they have', async () => {
  await withBase(async (folder) => {
    const of = async (adapter: string): Promise<string> => {
      const plan = planFor(folder, yaml().replace('  r: 2', adapter))
      const done = right(await train(plan, reference, quiet(folder).options)())
      return card(done.adapterFolder!)
    }
    assert.doesNotMatch(await of('  r: 2'), /float32|32-bit/)
    const text = await of('  r: 2\n  modules_to_save: [norm]')
    assert.match(text, /from_pretrained\(.*, dtype="float32"\)/)
    assert.match(text, /a base loaded in 16 bits would round them/)
  })
})
