/** Generation's launch lists on fibers, and what they hold for a large model. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { describe, test } from 'node:test'
import type { Target } from '../backends/cuda/lower/context.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { assumed, cards } from '../backends/cuda/lower/targets.ts'
import type { Program } from '../ir/graph.ts'
import { schedule, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { agree, plainRules, programOf, small } from './generation-lists.ts'
import { right } from './right.ts'

const cardOf = (arch: number): Target => cards.find((c) => c.target.arch === arch)!.target

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
    test(`${compute} on sm_${arch}, batch ${grid.batch}, capacity ${grid.capacity}`, () =>
      agree(
        small,
        compute,
        grid,
        targets,
        emulated(cardOf(arch)),
        emulated(cardOf(arch), plainRules),
      ))
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
