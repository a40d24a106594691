/** `layers_to_freeze_regex`: what it names stays, the rest trains as if nothing were held, and files hold both. */
import assert from 'node:assert/strict'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { decode } from '../backends/bytes.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import { showReason } from '../ir/reason.ts'
import { differentiate, hold, lora } from '../passes/index.ts'
import { parameterName } from '../passes/hold.ts'
import { compile } from '../passes/pass.ts'
import { openFile, openFolder } from '../src/tensors/reader.ts'
import { train } from '../src/train/train.ts'
import { load, packedBatch, trained } from './conformance.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { parse } from './config-base.ts'
import { holds } from './fc.ts'
import { relativeError } from './golden.ts'
import { run, sameBits, stateTensor, through, worldOf } from './laws.ts'
import { forward, plainSpec, targets } from './programs.ts'
import { right } from './right.ts'
import { planFor, quiet, withBase, yaml } from './train-job.ts'

const adapters = lora({ r: 2, alpha: 3, dropout: 0, targets })

test('names are those of Ludwig’s modules', () => {
  // named_parameters() of a LudwigModel's `model`, without and with PEFT.
  assert.equal(
    parameterName('model.layers.0.self_attn.q_proj.weight'),
    'model.model.layers.0.self_attn.q_proj.weight',
  )
  assert.equal(
    parameterName('model.layers.0.self_attn.q_proj.lora_A.weight'),
    'model.base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight',
  )
  const q = 'model.layers.0.self_attn.q_proj'
  assert.equal(
    parameterName(`${q}.lora_magnitude_vector`),
    `model.base_model.model.${q}.lora_magnitude_vector.default.weight`,
  )
  assert.equal(parameterName(`${q}.ia3_l`), `model.base_model.model.${q}.ia3_l.default`)
})

test('the rest has the gradients that it had, bit for bit, and what is held has none', () => {
  for (const [passes, pattern, of] of [
    [[adapters], 'lora_A\\.default', /lora_A/],
    [[], '^model\\.model\\.layers\\.0\\.|embed', /layers\.0\.|embed/],
  ] as const) {
    const p = forward(plainSpec, 1)
    const [all, some] = [
      run(through(...passes, differentiate)(p), worldOf(3)).outs,
      run(through(...passes, hold(pattern), differentiate)(p), worldOf(3)).outs,
    ]
    const held = Object.keys(all).filter((n) => !(n in some))
    assert.ok(held.length > 0)
    for (const name of Object.keys(all))
      if (name.startsWith('grad.')) assert.equal(held.includes(name), of.test(name), name)
    for (const [name, x] of Object.entries(some)) holds(sameBits(x, all[name]!), name)
  }
})

test('a pattern that holds nothing, everything, or every B is refused and says so', () => {
  const why = (pattern: string): string => {
    const made = compile([adapters, hold(pattern)])(forward(plainSpec, 1))
    assert.ok(E.isLeft(made), pattern)
    return showReason(made.left.reason)
  }
  assert.match(why('layers\\.99'), /"layers\\\\.99" matches nothing; there are model\.base_model\./)
  assert.match(why('lora'), /leaves nothing to train/)
  assert.match(why('lora_B'), /begin as zeros: nothing would be learned/)
})

test('patterns that Python and JavaScript read differently are refused', () => {
  const text = (pattern: string): string =>
    `model_type: llm\nbase_model: b\ninput_features: [{name: a, type: text}]\noutput_features: [{name: b, type: text}]\ntrainer: {type: finetune, layers_to_freeze_regex: '${pattern}'}\n`
  for (const good of [
    '(decoder\\.layers\\.22\\.final_layer_norm\\.*)',
    'layers\\.[0-3]\\.',
    'a|b$',
  ])
    assert.ok(E.isRight(parse(text(good))), good)
  for (const bad of ['(?i)a', '(?P<x>a)', 'a\\Z', '(', 'a++', '[']) {
    const parsed = parse(text(bad))
    assert.ok(E.isLeft(parsed), bad)
    assert.match(parsed.left[0].expected!, /regular expression without flags/)
  }
})

const holding = (pattern: string): string => yaml(`  layers_to_freeze_regex: '${pattern}'`)

test('an adapter has what was held as it began, and the trained matrices beside it', async () => {
  await withBase(async (folder) => {
    const plan = planFor(folder, holding('lora_A'))
    assert.ok(!plan.program.state.some((s) => /^adam\..*lora_A/.test(s.name)))
    const done = right(await train(plan, reference, quiet(folder).options)())
    const free = right(
      await train(planFor(folder, yaml('  train_steps: 1')), reference, quiet(folder).options)(),
    )
    const read = async (from: string | null, name: string): Promise<Uint8Array> =>
      right(
        await right(await openFile(path.join(from!, 'adapter_model.safetensors'))()).read(
          `base_model.model.model.layers.1.self_attn.v_proj.${name}.weight`,
        )(),
      )
    const [a, b] = [
      await read(done.adapterFolder, 'lora_A'),
      await read(done.adapterFolder, 'lora_B'),
    ]
    assert.ok(b.some((x) => x !== 0))
    assert.ok(a.some((x) => x !== 0))
    // Trained for one step, A moves by its B, which is zero until then: the first step leaves it.
    assert.deepEqual(a, await read(free.adapterFolder, 'lora_A'))
  })
})

test('a model has the layers that were held byte for byte from its base', async () => {
  await withBase(async (folder) => {
    const text = holding('layers\\.0\\.|embed').replace(/adapter:\n(?: {2}.*\n)+/, '')
    const done = right(await train(planFor(folder, text), reference, quiet(folder).options)())
    const [base, model] = [
      right(await openFolder(path.join(folder, 'base'))()),
      right(await openFolder(done.adapterFolder!)()),
    ]
    assert.deepEqual([...model.tensors.keys()].toSorted(), [...base.tensors.keys()].toSorted())
    for (const name of base.tensors.keys()) {
      const same = Buffer.compare(
        Buffer.from(right(await base.read(name)())),
        Buffer.from(right(await model.read(name)())),
      )
      assert.equal(same === 0, /layers\.0\.|embed/.test(name), name)
    }
  })
})

test(
  'held adapters on a GPU in 16 bits: the gradients are those of the definition',
  {
    skip: noCompiler,
  },
  async () => {
    const p = trained(
      'bf16',
      { _tag: 'none' },
      'layers\\.\\d\\.self_attn.*lora_A|layers\\.0.*lora_B',
    )
    assert.ok(p.state.some((s) => s.role === 'held'))
    const w = worldOf(7)
    const gradients = []
    for (const backend of [emulated(cardOf('sm_80')!.target), reference]) {
      const session = right(await backend.prepare(p)())
      await load(session, p.state, (s) => stateTensor(w, s))
      right(await session.run('micro', packedBatch(0))())
      const all = []
      for (const s of p.state.filter((x) => x.role === 'gradient'))
        all.push(...decode(s.type, right(await session.read(s.name)())))
      gradients.push(all)
      right(await session.close()())
    }
    assert.ok(gradients[0]!.some((x) => x !== 0))
    holds(relativeError(gradients[0]!, gradients[1]!) < 6e-2)
  },
)
