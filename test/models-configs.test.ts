/** What is computed is what the files describe: config.json files against transformers 5 (fixtures/models/configs.py). */
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { inverseFrequencies } from '../ir/frequencies.ts'
import { model } from '../src/models/llama.ts'
import { configRemarks } from '../src/models/remarks.ts'
import { readSpec } from '../src/models/spec.ts'
import { right } from './right.ts'

interface Made {
  readonly frequencies: ReadonlyArray<number>
  readonly eps: number
  readonly tensors: Readonly<Record<string, string>>
  readonly tied: boolean
  readonly longest: number
  readonly window: number | null
}

interface Case {
  readonly name: string
  readonly more: Readonly<Record<string, unknown>>
  readonly made?: Made
  readonly error?: string
}

const { base, cases } = JSON.parse(
  readFileSync(path.join(import.meta.dirname, 'fixtures', 'models', 'configs.json'), 'utf8'),
) as { readonly base: object; readonly cases: ReadonlyArray<Case> }

/** Refused here though transformers 5 goes on: versions 4 and 5 differ, or it warns of what cannot be meant. */
const refused: Readonly<Record<string, RegExp>> = {
  'yarn by hand': /RoPE scaling "yarn" is not supported/,
  'scaling without type': /RoPE scaling without a type/,
  'parameters without type': /RoPE scaling without a type/,
  'linear, factor 0': /factor of RoPE scaling "linear" is 0/,
  'llama3, low and high equal': /high_freq_factor 4 .* is not above its low_freq_factor 4/,
  'a part of each head': /rotates a part of each head/,
  'a part of each head, within': /rotates a part of each head/,
  'positions per kind of layer': /positions per kind of layer/,
  gelu: /activation "gelu"/,
}

const tensorsOf = (config: object): Readonly<Record<string, string>> => {
  const shapes = { rows: 1, length: 2, generate: null }
  const { state } = right(model('m', right(readSpec(config)), shapes))
  return Object.fromEntries(
    state
      .filter((s) => !s.name.includes('.layers.1.'))
      .map((s) => [s.name, s.type.shape.join('x')] as const),
  )
}

for (const { name, more, made, error } of cases)
  test(`config.json, ${name}`, () => {
    const config = { ...base, ...more }
    const read = readSpec(config)
    const why = refused[name]
    if (why !== undefined || made === undefined) {
      assert.ok(E.isLeft(read), `accepted, where transformers says ${error ?? 'nothing'}`)
      if (why !== undefined) assert.match(read.left.message, why)
      return
    }
    const spec = right(read)
    const ours = inverseFrequencies(spec.rope)
    assert.equal(ours.length, made.frequencies.length)
    ours.forEach((f, i) => assert.ok(Math.abs(f / made.frequencies[i]! - 1) < 1e-6, `${f}`))
    assert.equal(spec.eps, made.eps)
    assert.equal(spec.tied, made.tied)
    assert.equal(spec.context, Math.min(made.longest, made.window ?? Infinity))
    assert.deepEqual(tensorsOf(config), made.tensors)
  })

/** What is said of a case; a case that is not listed must be silent. */
const said: Readonly<Record<string, ReadonlyArray<RegExp>>> = {
  'theta at the top and within': [/rope_theta twice: rope_parameters.rope_theta 500 is used/],
  'scaling beside parameters': [/both rope_scaling and rope_parameters: rope_scaling is used/],
  'scaling takes no theta from parameters': [/both/, /rope_theta 500 of .*: 10000 is used/],
  'scaling takes theta from the top': [/both/, /rope_theta 500 of .*: 300 is used/],
  'scaling default beside linear parameters': [/both/],
  'type beside rope_type': [/rope_type "default" is used, type "linear" is not/, /no effect/],
  'rope_type beside type': [/rope_type "linear" is used, type "default" is not/],
  'default with a factor': [/type "default": its factor 2 has no effect/],
  'llama3 with the length at the top': [/twice: the top level 32 is used, rope_scaling 8 is not/],
  'llama does not slide': [/`sliding_window` .* no effect/, /`use_sliding_window` .* no effect/],
  'mistral, window said unused': [/`use_sliding_window` of config.json has no effect/],
  'mistral has no biases': [/`attention_bias` .* no effect/, /`mlp_bias` .* no effect/],
  'qwen2 keeps its biases': [/`mlp_bias` .* no effect/],
}

test('what a config.json says twice or in vain is said, and nothing else', () => {
  for (const { name, more } of cases) {
    const config = { ...base, ...more }
    if (E.isLeft(readSpec(config))) continue
    const remarks = configRemarks(config)
    const expected = said[name] ?? []
    assert.equal(remarks.length, expected.length, `${name}: ${remarks.join('; ')}`)
    expected.forEach((why, i) => assert.match(remarks[i]!, why))
  }
  const architecture = { ...base, architectures: ['MistralForCausalLM'], attention_dropout: 0.1 }
  const [dropout, other] = configRemarks(architecture)
  assert.match(dropout!, /attention_dropout 0.1 .* not applied/)
  assert.match(other!, /architecture MistralForCausalLM; its model_type "llama" decides/)
  assert.deepEqual(configRemarks({ ...base, architectures: ['LlamaForCausalLM'] }), [])
})
