/** Architectures read from config.json: parameter counts as published, both generations of files, and what is refused. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { size } from '../ir/type.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { right } from './right.ts'

const parameters = (config: object): number =>
  right(model('m', right(readSpec(config)), { rows: 1, length: 2, generate: null })).state.reduce(
    (n, s) => n + size(s.type),
    0,
  )

/** Totals of the published checkpoints. */
const published: Readonly<Record<string, number>> = {
  'meta-llama/Llama-2-7b-hf': 6_738_415_616,
  'meta-llama/Llama-2-13b-hf': 13_015_864_320,
  'meta-llama/Llama-2-70b-hf': 68_976_648_192,
  'codellama/CodeLlama-7b-hf': 6_738_546_688,
  'codellama/CodeLlama-7b-Python-hf': 6_738_415_616,
  'codellama/CodeLlama-13b-hf': 13_016_028_160,
  'codellama/CodeLlama-34b-hf': 33_743_970_304,
  'meta-llama/Meta-Llama-3-8B': 8_030_261_248,
  'meta-llama/Meta-Llama-3-70B-Instruct': 70_553_706_496,
  'meta-llama/Llama-3.1-8B': 8_030_261_248,
  'meta-llama/Meta-Llama-3.1-70B': 70_553_706_496,
  'meta-llama/Llama-3.1-405B': 405_853_388_800,
  'meta-llama/Llama-3.2-1B': 1_235_814_400,
  'meta-llama/Llama-3.2-3B': 3_212_749_824,
  'meta-llama/Llama-3.3-70B-Instruct': 70_553_706_496,
  'mistralai/Mistral-7B-v0.1': 7_241_732_096,
  'mistralai/Mistral-7B-Instruct-v0.2': 7_241_732_096,
  'mistralai/Mistral-7B-v0.3': 7_248_023_552,
  'mistralai/Mistral-Nemo-Base-2407': 12_247_782_400,
  'mistralai/Mistral-Small-24B-Base-2501': 23_572_403_200,
  'TinyLlama/TinyLlama-1.1B-Chat-v1.0': 1_100_048_384,
  'Qwen/Qwen2-0.5B': 494_032_768,
  'Qwen/Qwen2-72B-Instruct': 72_706_203_648,
  'Qwen/Qwen2.5-0.5B': 494_032_768,
  'Qwen/Qwen2.5-1.5B': 1_543_714_304,
  'Qwen/Qwen2.5-3B': 3_085_938_688,
  'Qwen/Qwen2.5-7B': 7_615_616_512,
  'Qwen/Qwen2.5-14B': 14_770_033_664,
  'Qwen/Qwen2.5-32B-Instruct': 32_763_876_352,
  'Qwen/Qwen2.5-72B': 72_706_203_648,
}

for (const [name, total] of Object.entries(published))
  test(`${name} has ${total} parameters`, () => assert.equal(parameters(knownModels[name]!), total))

test('known models: the longest sequences that their files allow', () => {
  const contexts = Object.fromEntries(
    Object.entries(knownModels).map(([name, config]) => [name, right(readSpec(config)).context]),
  )
  assert.equal(contexts['mistralai/Mistral-7B-v0.1'], 4096)
  assert.equal(contexts['mistralai/Mistral-7B-Instruct-v0.2'], 32768)
  assert.equal(contexts['Qwen/Qwen2.5-7B'], 131072)
  assert.equal(contexts['Qwen/Qwen2.5-7B-Instruct'], 32768)
  assert.equal(contexts['codellama/CodeLlama-34b-Instruct-hf'], 16384)
  assert.equal(contexts['meta-llama/Llama-3.3-70B-Instruct'], 131072)
})

const base = {
  model_type: 'llama',
  vocab_size: 8,
  hidden_size: 8,
  intermediate_size: 6,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 16,
}
const llama3 = {
  factor: 8,
  low_freq_factor: 1,
  high_freq_factor: 4,
  original_max_position_embeddings: 8,
}

test('RoPE parameters of transformers 5 and 4 mean the same', () => {
  const five = { ...base, rope_parameters: { rope_theta: 5e5, rope_type: 'llama3', ...llama3 } }
  const four = { ...base, rope_theta: 5e5, rope_scaling: { type: 'llama3', ...llama3 } }
  assert.deepEqual(readSpec(five), readSpec(four))
  const { rope } = right(readSpec(five))
  assert.deepEqual([rope.theta, rope.factor, rope.originalContext], [5e5, 8, 8])
})

test('silent keys get the defaults of transformers', () => {
  const spec = right(readSpec(base))
  assert.deepEqual(
    [spec.eps, spec.kvHeads, spec.headDim, spec.tied, spec.qkvBias, spec.rope.theta],
    [1e-6, 2, 4, false, false, 1e4],
  )
  assert.equal(right(readSpec({ ...base, head_dim: 6 })).headDim, 6)
  assert.equal(
    right(readSpec({ ...base, model_type: 'qwen2', num_key_value_heads: 2 })).qkvBias,
    true,
  )
  assert.equal(
    right(readSpec({ ...base, model_type: 'mistral', num_key_value_heads: 1, sliding_window: 4 }))
      .context,
    4,
  )
})

const refused: ReadonlyArray<readonly [object, RegExp]> = [
  [{}, /does not describe a model/],
  [{ ...base, model_type: 'bert' }, /"bert" is not supported/],
  [{ ...base, hidden_act: 'gelu' }, /activation "gelu"/],
  [
    { ...base, num_attention_heads: 3, num_key_value_heads: 2, head_dim: 2 },
    /3 attention heads do not divide/,
  ],
  [{ ...base, head_dim: 3 }, /head_dim 3 is odd/],
  [{ ...base, hidden_size: 0 }, /hidden is 0/],
  [{ ...base, quantization_config: { bits: 4 } }, /quantized already/],
  [{ ...base, rms_norm_eps: -1 }, /rms_norm_eps is -1/],
  [{ ...base, model_type: 'toString' }, /"toString" is not supported/],
  [{ ...base, hidden_size: 'wide' }, /hidden_size has the wrong type/],
  [{ ...base, rope_scaling: { rope_type: 'yarn', factor: 2 } }, /"yarn" is not supported/],
  [
    { ...base, rope_scaling: { rope_type: 'linear' } },
    /factor of RoPE scaling "linear" is missing/,
  ],
]
for (const [config, why] of refused)
  test(`refused: ${why.source}`, () => {
    const read = readSpec(config)
    assert.ok(E.isLeft(read) && why.test(read.left.message), JSON.stringify(read))
  })

test('what is not an object is refused', () => {
  for (const json of [null, 3, 'x', []]) assert.ok(E.isLeft(readSpec(json)))
})
