/** Generation's launch lists with the rules for few rows and without, against the definition: a small model with 4-bit weights and adapters. */
import assert from 'node:assert/strict'
import type { Backend, Feeds, Session } from '../backends/backend.ts'
import { encode } from '../backends/bytes.ts'
import { few } from '../backends/cuda/lower/rules/few.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import { token } from '../backends/cuda/lower/rules/token.ts'
import { wide } from '../backends/cuda/lower/rules/wide.ts'
import { reference } from '../backends/reference/index.ts'
import type { Program } from '../ir/graph.ts'
import { isEncoded, type Float } from '../ir/type.ts'
import { schedule, simplify } from '../passes/index.ts'
import { compile } from '../passes/pass.ts'
import { model } from '../src/models/llama.ts'
import type { ModelSpec } from '../src/models/spec.ts'
import { modelPasses } from '../src/pipeline.ts'
import { relativeError } from './golden.ts'
import { stateTensor, worldOf } from './laws.ts'
import { plainSpec } from './programs.ts'
import { right } from './right.ts'

export const small: ModelSpec = {
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
export interface Grid {
  readonly batch: number
  readonly prompt: number
  readonly capacity: number
}

export const programOf = (
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

/** A prompt, then tokens one by one; the second sequence is longer than the first. */
const feedsOf = (spec: ModelSpec, g: Grid): ReadonlyArray<readonly [string, Feeds]> => {
  const n = g.batch * g.prompt
  const long = (r: number): number => g.prompt - (r % 2)
  const prefill = {
    tokens: Int32Array.from({ length: n }, (_, i) => (i * 7 + 3) % spec.vocab),
    positions: Int32Array.from({ length: n }, (_, i) => i % g.prompt),
    segments: Int32Array.from({ length: n }, (_, i) =>
      i % g.prompt < long(Math.floor(i / g.prompt)) ? 1 : 0,
    ),
    last: Int32Array.from({ length: g.batch }, (_, r) => r * g.prompt + long(r) - 1),
  }
  const decode = [0, 1, 2].map((step) => ({
    tokens: Int32Array.from({ length: g.batch }, (_, r) => (r * 5 + step * 11) % spec.vocab),
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

/** Without the rules for few rows. */
export const plainRules = rules.filter((r) => ![few, wide, token].includes(r))

/** What a 16-bit list may be off beyond the definition's own distance from f32: a handful of roundings. */
const roundings = { bf16: 2e-2, f16: 2.5e-3 } as const

/** A prompt and some tokens: what `fused` and `plain` return is as far from f32 as the definition in their type is, and a handful of roundings more. */
export const agree = async (
  spec: ModelSpec,
  compute: 'bf16' | 'f16',
  grid: Grid,
  targets: ReadonlyArray<string>,
  fused: Backend,
  plain: Backend,
): Promise<void> => {
  const p = programOf(spec, compute, grid, targets)
  const w = worldOf(3)
  const sessions: Array<Session> = []
  for (const [backend, program] of [
    [reference, programOf(spec, 'f32', grid, targets)],
    [reference, p],
    [fused, p],
    [plain, p],
  ] as const) {
    const s = right(await backend.prepare(program)())
    for (const x of program.state) {
      const t = stateTensor(w, x)
      const stored = isEncoded(x.type.dtype) ? Uint8Array.from(t.data) : encode(x.type, t.data)
      right(await s.write(x.name, stored)())
    }
    sessions.push(s)
  }
  for (const [i, [fn, feeds]] of feedsOf(spec, grid).entries()) {
    const got = []
    for (const [k, s] of sessions.entries()) {
      const { logits, next } = right(await s.run(fn, feeds)())
      got.push(logits!)
      // With the rules, ids are those of the logits that are returned, however close the two largest are.
      if (k === 2) assert.deepEqual(Array.from(next!), argmaxOf(logits!, grid.batch))
      assert.deepEqual(right(await s.run(fn, feeds, ['next'])()), { next })
    }
    const [f32, typed, ...others] = got as [Float32Array, ...Array<Float32Array>]
    const bound = 1.5 * relativeError(typed!, f32) + roundings[compute]
    others.forEach((x, k) => {
      const off = relativeError(x, f32)
      assert.ok(off <= bound, `${['fused', 'plain'][k]} ${fn} ${i}: ${off} off, ${bound} allowed`)
    })
  }
  for (const s of sessions) right(await s.close()())
}
