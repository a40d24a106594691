/** Generation's launch lists: a small model with 4-bit weights and adapters, with the rules for few rows and without, against the definition. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import type { Feeds, Session } from '../backends/backend.ts'
import { encode } from '../backends/bytes.ts'
import type { Target } from '../backends/cuda/lower/context.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { few } from '../backends/cuda/lower/rules/few.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import { token } from '../backends/cuda/lower/rules/token.ts'
import { wide } from '../backends/cuda/lower/rules/wide.ts'
import { assumed, cards } from '../backends/cuda/lower/targets.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { isEncoded, type Float } from '../ir/type.ts'
import { schedule, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec, type ModelSpec } from '../src/models/spec.ts'
import { modelPasses } from '../src/pipeline.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { relativeError } from './golden.ts'
import { stateTensor, worldOf } from './laws.ts'
import { plainSpec } from './programs.ts'
import { right } from './right.ts'

const small: ModelSpec = {
  ...plainSpec,
  vocab: 90,
  hidden: 64,
  intermediate: 128,
  layers: 2,
  heads: 4,
  kvHeads: 2,
  headDim: 16,
  rope: { ...plainSpec.rope, dim: 16 },
}
interface Grid {
  readonly batch: number
  readonly prompt: number
  readonly capacity: number
}

const programOf = (
  spec: ModelSpec,
  compute: Float,
  generate: Grid,
  targets: ReadonlyArray<string>,
): Program => {
  const all = right(model('llama', spec, { rows: 1, length: 1, generate }))
  const passes = modelPasses({
    lora: { r: 4, alpha: 8, dropout: 0.1, targets: [...targets] },
    quantize: { block: 64, nested: 256 },
    compute,
    optimizer: { beta1: 0, beta2: 0, eps: 1, decay: 0, decoupled: false, clip: null },
    recompute: { _tag: 'none' },
  })
  const whole = right(compile(passes)(all)).program
  const fns = whole.fns.filter((f) => ['prefill', 'decode'].includes(f.name))
  return right(compile([simplify, schedule])({ ...whole, fns })).program
}

const cardOf = (arch: number): Target => cards.find((c) => c.target.arch === arch)!.target
const plainRules = rules.filter((r) => ![few, wide, token].includes(r))

/** A prompt, then tokens one by one; the second sequence is longer than the first. */
const feedsOf = (g: Grid): ReadonlyArray<readonly [string, Feeds]> => {
  const n = g.batch * g.prompt
  const long = (r: number): number => g.prompt - (r % 2)
  const prefill = {
    tokens: Int32Array.from({ length: n }, (_, i) => (i * 7 + 3) % small.vocab),
    positions: Int32Array.from({ length: n }, (_, i) => i % g.prompt),
    segments: Int32Array.from({ length: n }, (_, i) =>
      i % g.prompt < long(Math.floor(i / g.prompt)) ? 1 : 0,
    ),
    last: Int32Array.from({ length: g.batch }, (_, r) => r * g.prompt + long(r) - 1),
  }
  const decode = [0, 1, 2].map((step) => ({
    tokens: Int32Array.from({ length: g.batch }, (_, r) => (r * 5 + step * 11) % small.vocab),
    positions: Int32Array.from({ length: g.batch }, (_, r) => long(r) + step),
  }))
  return [['prefill', prefill], ...decode.map((f) => ['decode', f] as const)]
}

const argmaxOf = (logits: ArrayLike<number>, rows: number): ReadonlyArray<number> => {
  const width = logits.length / rows
  return Array.from({ length: rows }, (_, r) => {
    const row = Array.from(logits).slice(r * width, (r + 1) * width)
    return row.indexOf(Math.max(...row))
  })
}

/** What a 16-bit list may be off beyond the definition's own distance from f32: a handful of roundings. */
const roundings = { bf16: 2e-2, f16: 2.5e-3 } as const

describe('generation on fibers', { skip: noCompiler }, () => {
  for (const [compute, arch, grid, targets] of [
    ['bf16', 80, { batch: 1, prompt: 5, capacity: 9 }, ['q_proj', 'k_proj', 'v_proj']],
    // Rows in parts.
    [
      'f16',
      75,
      { batch: 17, prompt: 2, capacity: 8 },
      ['q_proj', 'down_proj', 'up_proj', 'o_proj'],
    ],
    // Rows by eights, and a cache in parts.
    ['bf16', 90, { batch: 10, prompt: 3, capacity: 520 }, ['q_proj', 'gate_proj']],
    ['f16', 120, { batch: 1, prompt: 12, capacity: 520 }, ['down_proj']],
  ] as const)
    test(`${compute} on sm_${arch}, batch ${grid.batch}, capacity ${grid.capacity}`, async () => {
      const p = programOf(small, compute, grid, targets)
      const exact = programOf(small, 'f32', grid, targets)
      const w = worldOf(3)
      const sessions: Array<Session> = []
      for (const [backend, program] of [
        [reference, exact],
        [reference, p],
        [emulated(cardOf(arch)), p],
        [emulated(cardOf(arch), plainRules), p],
      ] as const) {
        const s = right(await backend.prepare(program)())
        for (const x of program.state) {
          const t = stateTensor(w, x)
          const stored = isEncoded(x.type.dtype) ? Uint8Array.from(t.data) : encode(x.type, t.data)
          right(await s.write(x.name, stored)())
        }
        sessions.push(s)
      }
      for (const [i, [fn, feeds]] of feedsOf(grid).entries()) {
        const got = []
        for (const [k, s] of sessions.entries()) {
          const { logits, next } = right(await s.run(fn, feeds)())
          got.push(logits!)
          // With the rules, ids are those of the logits that are returned, however close the two largest are.
          if (k === 2) assert.deepEqual(Array.from(next!), argmaxOf(logits!, grid.batch))
          assert.deepEqual(right(await s.run(fn, feeds, ['next'])()), { next })
        }
        const [f32, typed, fused, plain] = got as [Float32Array, ...Array<Float32Array>]
        const bound = 1.5 * relativeError(typed!, f32) + roundings[compute]
        for (const [name, x] of [
          ['fused', fused!],
          ['plain', plain!],
        ] as const)
          assert.ok(
            relativeError(x, f32) <= bound,
            `${name} ${fn} ${i}: ${relativeError(x, f32)} off, ${bound} allowed`,
          )
      }
    })
})

const launchesOf = (batch: number, capacity: number) => {
  const spec = right(readSpec(knownModels['meta-llama/Llama-2-7b-hf']))
  const grid = { batch, prompt: 32, capacity }
  const p = programOf(spec, 'bf16', grid, ['q_proj', 'k_proj', 'v_proj'])
  return lower(p, assumed.target).fns.find((f) => f.name === 'decode')!.launches
}
const kernels = (list: ReturnType<typeof launchesOf>): ReadonlyArray<string> =>
  list.map((l) => (l._tag === 'kernel' ? l.kernel.name : l._tag))

test('a token of Llama-2-7B: caches in place, six launches a layer, seven with a long cache, ten for 32 rows', () => {
  const layer = ['few_low', 'few_rows', 'token_attention', 'few_rows', 'few_rows', 'few_rows']
  const short = kernels(launchesOf(1, 160))
  assert.deepEqual(short.slice(-8), [...layer, 'few_wide', 'argmax_rows'])
  // The embedding, the table of rotations, the vocabulary, the likeliest word.
  assert.equal(short.length, 4 + 6 * 32)
  const long = kernels(launchesOf(1, 2048))
  assert.equal(long.length, 4 + 7 * 32)
  const many = kernels(launchesOf(32, 160))
  const parts = (...joins: ReadonlyArray<string>) => joins.flatMap((j) => ['few_parts', j])
  assert.deepEqual(many.slice(-13), [
    'few_low',
    ...parts('few_join'),
    'token_attention',
    ...parts('few_join_norm', 'few_join', 'few_join_norm'),
    'few_wide',
    'few_join',
    'argmax_rows',
  ])
  // The first norm, too.
  assert.equal(many.length, 6 + 10 * 32)
  for (const list of [short, long, many])
    for (const other of ['copy', 'product', 'nf4_decode_groups', 'cache_write'])
      assert.ok(!list.includes(other), other)
})

test('launches of a token begin early behind kernels, from Hopper on, where caches alone change', () => {
  const namesOf = (p: Program, target: Target, fn: string): ReadonlyArray<string> =>
    lower(p, target)
      .fns.find((f) => f.name === fn)!
      .launches.map((l) =>
        l._tag === 'kernel' ? `${l.kernel.name}${l.early === true ? ' early' : ''}` : l._tag,
      )
  const p = programOf(small, 'bf16', { batch: 2, prompt: 3, capacity: 8 }, ['q_proj'])
  const hopper = namesOf(p, cardOf(90), 'decode')
  assert.deepEqual(hopper.slice(0, 2), ['gather_rows', 'few_low early'])
  for (const name of ['few_rows', 'token_attention', 'few_wide', 'argmax_rows']) {
    assert.ok(hopper.includes(`${name} early`), name)
    assert.ok(!hopper.includes(name), name)
  }
  for (const target of [cardOf(80), { ...cardOf(90), early: false }])
    assert.ok(namesOf(p, target, 'decode').every((l) => !l.endsWith('early')))
  const whole = right(model('llama', small, { rows: 1, length: 4, generate: null }))
  const { program } = right(compile([simplify, schedule])(whole))
  for (const fn of ['step', 'evaluate'])
    assert.ok(
      namesOf(program, cardOf(90), fn).every((l) => !l.endsWith('early')),
      fn,
    )
})

test('every kernel that may begin early waits, before it returns', () => {
  const early = new Map(
    [launchesOf(32, 2048), launchesOf(1, 2048)].flatMap((list) =>
      list.flatMap((l) =>
        l._tag === 'kernel' && l.early === true ? [[l.kernel.name, l.kernel.source] as const] : [],
      ),
    ),
  )
  assert.ok(early.size >= 6)
  for (const [name, source] of early) {
    const file = path.join(import.meta.dirname, '../backends/cuda/kernels', source)
    const text = fs
      .readFileSync(file, 'utf8')
      .split(/^KERNEL /m)
      .find((t) => t.includes(` ${name}(`))!
    const [waits, returns] = [text.indexOf('WAIT();'), text.indexOf('return;')]
    assert.ok(waits > 0 && (returns < 0 || waits < returns), name)
  }
})

test('a token reads little more than its codes, the vocabulary and the cache', () => {
  const bytes = launchesOf(1, 160).reduce((n, l) => n + l.bytes, 0)
  // 4 bits a weight, 8 a block of 64, and of the vocabulary 16.
  const codes = 32 * (4 * 4096 ** 2 + 3 * 4096 * 11008) * (1 / 2 + 1 / 64)
  const floor = codes + 32000 * 4096 * 2 + 32 * 2 * 161 * 4096 * 2
  assert.ok(bytes >= floor && bytes < 1.02 * floor, `${bytes} for ${floor}`)
})
