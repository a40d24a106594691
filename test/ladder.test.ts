/** The memory ladder: exact where the arithmetic is known, consistent with the arena everywhere. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { bytes } from '../ir/type.ts'
import { stateBytes } from '../passes/memory.ts'
import { arenaBytes } from '../passes/schedule.ts'
import { dsl, type ConfigSource } from '../src/dsl.ts'
import { fitIssue } from '../src/plan/fit.ts'
import type { Footprint } from '../src/plan/footprint.ts'
import type { Plan } from '../src/plan/plan.ts'
import { ladderSvg } from '../src/report/ladder-svg.ts'
import { renderLadder, totals } from '../src/report/ladder.ts'
import { plain } from '../src/report/style.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'

type Keys = { readonly [key: string]: unknown }

const qlora: Keys = {
  quantization: { bits: 4 },
  adapter: { type: 'lora', r: 8, dropout: 0, target_modules: ['q_proj', 'k_proj', 'v_proj'] },
}

const job = (base: string, more: Keys = {}): ConfigSource => ({
  model_type: 'llm',
  base_model: base,
  input_features: [{ name: 'instruction', type: 'text' }],
  output_features: [{ name: 'output', type: 'text' }],
  trainer: { type: 'finetune', epochs: 3, learning_rate: 0.0003, batch_size: 1 },
  preprocessing: { global_max_sequence_length: 2048 },
  ...more,
})

const llama = (more: Keys = {}): Plan =>
  right(dsl.compile(job('meta-llama/Llama-2-7b-hf', { ...qlora, ...more })))
const small = (more: Keys = {}): Plan => right(dsl.compile(job('Qwen/Qwen2.5-0.5B', more)))

const columns = (f: Footprint): number =>
  f.weights + f.gradients + f.optimizer + f.cache + f.activations + f.workspace + f.padding

const seven = llama()
const ladder = right(dsl.ladder(seven))

test('Llama-2-7B to the byte', () => {
  assert.deepEqual(
    ladder.rungs.map((r) => r.name),
    ['full fine-tuning in f32', '+ lora r=8', '+ nf4, double', '+ bf16'],
  )
  const [full, lora, nf4, half] = ladder.rungs.map((r) => r.footprint)
  const weights = 26_953_662_464
  const trained = 6_291_456 * 4
  assert.equal(full!.weights, weights)
  assert.equal(full!.gradients, weights)
  assert.equal(full!.optimizer, 2 * weights)
  assert.equal(lora!.weights, weights + trained)
  for (const f of [lora!, nf4!, half!]) {
    assert.equal(f.gradients, trained)
    assert.equal(f.optimizer, 2 * trained)
  }
  const w = ladder.weights
  assert.deepEqual(w, {
    codes: 3_238_002_688,
    scales: 101_187_584,
    nested: 1_581_056,
    offsets: 896,
    half: 524_820_480,
    full: 0,
    trained,
    parameters: 6_291_456,
  })
  assert.equal(w.codes + w.scales + w.nested, 3_340_771_328)
  assert.equal(half!.weights, 3_340_771_328 + 896 + 524_820_480 + trained)
  assert.equal(nf4!.weights, 3_340_771_328 + 896 + 2 * 524_820_480 + trained)
})

test('every kind of temporary, in a function small enough to count by hand', () => {
  const text = `program @p {
    %w = frozen load "w" : f32[4, 4]
    fn @f(%x: f32[2, 4]) {
      layers.0.mlp:
        %a = scale %x {by=2} : f32[2, 4]
        %b = add %a, %a : f32[2, 4]
        %c = mul %b, %b : f32[2, 4]
      layers.1.mlp recompute:
        %d = mul %b, %b : f32[2, 4]
        %e = cast %w {to=bf16} : bf16[4, 4]
        %g = cast %d {to=bf16} : bf16[2, 4]
      layers.1.mlp backward:
        %h = dot %g, %e : bf16[2, 4]
        %i = cast %h {to=f32} : f32[2, 4]
        %j = mul %i, %a : f32[2, 4]
        %k = mul %j, %c : f32[2, 4]
        %l = mul %k, %x : f32[2, 4]
        %m = mul %l, %d : f32[2, 4]
      return y = %m
    }
  }`
  const program = right(dsl.run(dsl.passes.schedule)(right(dsl.parse(text))))
  const f = dsl.footprint(program)
  // Fullest at the dot: x, a, c and d live on, g and w in 16 bits are read, h is made.
  assert.deepEqual(f.peak, { fn: 'f', op: 'dot', scope: 'layers.1.mlp', stage: 'backward' })
  assert.equal(f.weights, 64)
  assert.equal(f.activations, 32 + 32)
  assert.deepEqual(f.kept.map((a) => `${a.part} ${a.op}`).toSorted(), ['mlp mul', 'mlp scale'])
  assert.deepEqual(f.scratch, {
    'decoded weights': 32,
    recomputed: 32 + 16,
    gradients: 16,
    forward: 0,
    inputs: 32,
    'op scratch': 0,
  })
  assert.equal(columns(f), f.total)
})

test('a value that only a recomputation reads is kept from the forward all the same', () => {
  const text = `program @p {
    fn @f(%x: f32[2, 4]) {
      layers.0.mlp:
        %a = scale %x {by=2} : f32[2, 4]
      layers.0.mlp recompute:
        %b = add %a, %a : f32[2, 4]
      layers.0.mlp backward:
        %c = mul %b, %x : f32[2, 4]
      return y = %c
    }
  }`
  const program = right(dsl.run(dsl.passes.schedule)(right(dsl.parse(text))))
  const { activations, kept } = dsl.footprint(program)
  assert.equal(activations, 32)
  assert.deepEqual(
    kept.map((a) => a.op),
    ['scale'],
  )
})

test('activations by category, with and without checkpointing', () => {
  const { kept, checkpointed, policy } = ladder.activations
  assert.equal(policy, 'layers')
  const [all, few] = [totals(kept, 'part'), totals(checkpointed, 'part')]
  for (const part of ['attention', 'mlp']) holds(all.get(part)! > 1e9, part)
  // Of 31 layers what enters the next is kept, and what enters the first: 2,048 × 4,096 in 16 bits each.
  const boundary = 2048 * 4096 * 2
  const sum = (m: ReadonlyMap<string, number>) => [...m.values()].reduce((a, b) => a + b, 0)
  holds(sum(few) >= 31 * boundary && sum(few) < 34 * boundary, String(sum(few)))
  assert.equal(
    sum(all),
    ladder.rungs.at(-1)!.footprint.activations,
    'the plan itself recomputes nothing',
  )
})

test('every rung adds up to the arena, and the last is the plan', () => {
  for (const l of [ladder, right(dsl.ladder(small({ compiler: { compute_dtype: 'float16' } })))])
    for (const { footprint: f } of l.rungs) {
      assert.equal(columns(f), f.total)
      holds(f.padding >= 0, `padding ${f.padding}`)
      holds(Object.values(f.scratch).every((n) => n >= 0))
    }
  assert.equal(ladder.rungs.at(-1)!.footprint.total, seven.arenaBytes)
  assert.equal(seven.arenaBytes, arenaBytes(seven.program))
  const state = seven.program.state.reduce((n, s) => n + bytes(s.type), 0)
  const { weights, gradients, optimizer, cache } = ladder.rungs.at(-1)!.footprint
  assert.equal(weights + gradients + optimizer + cache, state)
})

test('rungs are those that the config asks for', () => {
  const names = (more: Keys) => right(dsl.ladder(small(more))).rungs.map((r) => r.name)
  assert.deepEqual(names({}), ['full fine-tuning in f32'])
  assert.deepEqual(names({ compiler: { compute_dtype: 'bfloat16', recompute: 'layers' } }), [
    'full fine-tuning in f32',
    '+ bf16',
    '+ recompute (layers)',
  ])
  const tight = small({
    ...qlora,
    trainer: { type: 'finetune', batch_size: 8, epochs: 1, learning_rate: 0.001 },
    compiler: { memory_budget: '1GB' },
  })
  const rungs = right(dsl.ladder(tight)).rungs
  assert.deepEqual(
    rungs.map((r) => r.name),
    [
      'full fine-tuning in f32',
      '+ lora r=8',
      '+ nf4, double',
      '+ bf16',
      '+ recompute (budget)',
      '+ 2 rows at a time',
    ],
  )
  rungs.reduce((above, r) => {
    holds(r.footprint.total <= above, `${r.name} needs more than the rung above`)
    return r.footprint.total
  }, Infinity)
})

test('without training the ladder is that of a model that is asked: no gradients, no optimizer, 4 bits without an adapter', () => {
  const asked = { trainer: { type: 'none' }, quantization: { bits: 4 } }
  const ladder = right(dsl.ladder(small(asked)))
  assert.deepEqual(
    ladder.rungs.map((r) => r.name),
    ['the model in f32', '+ nf4, double', '+ bf16'],
  )
  for (const { footprint: f } of ladder.rungs) {
    assert.equal(f.gradients + f.optimizer + f.activations, 0)
    holds(f.cache > 0)
  }
  holds(ladder.rungs[1]!.footprint.weights < ladder.rungs[0]!.footprint.weights / 2)
  const plain = small({ trainer: { type: 'none' } })
  const writes = dsl.fit(plain, plain.totalBytes - 1).single.flatMap((c) => c.write)
  holds(writes.includes('quantization: {bits: 4}'))
  assert.deepEqual(
    writes.filter((w) => /adapter|checkpoint/.test(w)),
    [],
  )
  assert.equal(ladder.weights.trained, 0)
})

test('a plan within its budget needs nothing; one above it is told what helps, and that is true', () => {
  const plan = small(qlora)
  const roomy = dsl.fit(plan, plan.arenaBytes)
  assert.deepEqual(roomy, {
    budget: plan.arenaBytes,
    total: plan.arenaBytes,
    fits: true,
    single: [],
    together: null,
  })
  assert.equal(fitIssue(roomy), null)
  const budget = Math.floor(plan.arenaBytes * 0.6)
  const fit = dsl.fit(plan, budget)
  holds(!fit.fits && fit.single.length >= 2)
  // Each suggestion, written into a config by hand, compiles to the total that was promised.
  const promised = new Map(fit.single.map((c) => [c.write.join(), c.total]))
  const checkpoints = small({
    ...qlora,
    trainer: {
      type: 'finetune',
      epochs: 3,
      learning_rate: 0.0003,
      batch_size: 1,
      enable_gradient_checkpointing: true,
    },
  })
  assert.equal(promised.get('trainer.enable_gradient_checkpointing: true'), checkpoints.arenaBytes)
  const budgeted = small({ ...qlora, compiler: { memory_budget: budget } })
  assert.equal(promised.get(`compiler.memory_budget: ${budget}B`), budgeted.arenaBytes)
  const shorter = [...promised.keys()].find((k) => k.startsWith('preprocessing'))
  if (shorter !== undefined) {
    const length = Number(shorter.split(': ')[1])
    const cut = small({ ...qlora, preprocessing: { global_max_sequence_length: length } })
    assert.equal(promised.get(shorter), cut.arenaBytes)
  }
  for (const c of fit.single) assert.equal(c.fits, c.total <= budget)
  assert.match(fitIssue(fit)!.hint!, /any one of these makes it fit:\n/)
})

test('a budget halves the rows of a micro-batch where recomputing is not enough, and the suggestion says so', () => {
  const trainer = { type: 'finetune', epochs: 3, learning_rate: 0.0003, batch_size: 8 }
  const budget = 1_000_000_000
  const fit = dsl.fit(small({ ...qlora, trainer }), budget)
  const budgeted = small({ ...qlora, trainer, compiler: { memory_budget: budget } })
  holds(budgeted.shapes.rows < 8 && budgeted.arenaBytes <= budget)
  const promised = fit.single.find((c) => c.write[0] === 'compiler.memory_budget: 1GB')
  assert.equal(promised?.total, budgeted.arenaBytes)
})

test('where no change is enough alone, several are put together; where none are, it says so', () => {
  const plan = small()
  const fit = dsl.fit(plan, 1_000_000_000)
  holds(fit.single.every((c) => !c.fits))
  holds(fit.together!.fits && fit.together!.total <= 1e9)
  assert.match(fitIssue(fit)!.hint!, /together these make it fit:\n.*adapter: \{type: lora\}/)
  const never = dsl.fit(plan, 50_000_000)
  holds(!never.together!.fits)
  assert.match(fitIssue(never)!.hint!, /a smaller model is needed/)
  holds(stateBytes(plan.program) > 50_000_000)
})

test('the table names every rung and the drawing is as long as the numbers', () => {
  const lines = renderLadder(ladder, plain)
  for (const r of ladder.rungs) holds(lines.some((l) => l.startsWith(r.name)))
  holds(lines.some((l) => /4-bit codes +3,238,002,688$/.test(l)))
  const svg = ladderSvg(ladder)
  const widths = [...svg.matchAll(/<rect x="[\d.]+" y="(\d+)" width="([\d.]+)" height="22"/g)]
  const rows = new Map<string, number>()
  for (const [, y, w] of widths) rows.set(y!, (rows.get(y!) ?? 0) + Number(w))
  const [first, ...others] = [...rows.values()]
  const most = ladder.rungs[0]!.footprint.total
  others.forEach((w, i) => {
    const share = ladder.rungs[i + 1]!.footprint.total / most
    holds(Math.abs(w / first! - share) < 1e-3, `bar ${i + 1}`)
  })
  assert.equal(rows.size, ladder.rungs.length)
  const pieces = [...svg.matchAll(/<rect x="([\d.]+)" y="(\d+)" width="([\d.]+)" height="22"/g)]
  pieces.forEach(([, x, y, w], i) => {
    const next = pieces[i + 1]
    if (next?.[2] === y) holds(Math.abs(Number(x) + Number(w) - Number(next![1])) < 0.02)
  })
  assert.match(svg, /prefers-color-scheme:dark/)
})

test('a technique the model refuses is a problem, not a rung', () => {
  const wrong = dsl.compile(
    job('Qwen/Qwen2.5-0.5B', { adapter: { type: 'lora', target_modules: ['qkv'] } }),
  )
  holds(E.isLeft(wrong))
  assert.match(wrong.left[0].message, /qkv matches nothing/)
})
