/** Small Llama-like models on packed batches: random architectures, random samples, and the data of both. */
import type { Adam } from '../ir/algebra.ts'
import type { Program } from '../ir/graph.ts'
import { round } from '../ir/number.ts'
import { size, type Plain } from '../ir/type.ts'
import { model, type Shapes } from '../src/models/llama.ts'
import type { ModelSpec } from '../src/models/spec.ts'
import type { Quantize } from '../passes/index.ts'
import type { Techniques } from '../src/pipeline.ts'
import { fc } from './fc.ts'
import { unit, worldOf, type World } from './laws.ts'
import { right } from './right.ts'

const rope = {
  dim: 2,
  theta: 100,
  factor: 1,
  lowFreqFactor: 0,
  highFreqFactor: 0,
  originalContext: 0,
}

/** One layer, every optional part off. */
export const plainSpec: ModelSpec = {
  family: 'llama',
  vocab: 5,
  hidden: 4,
  intermediate: 3,
  layers: 1,
  heads: 2,
  kvHeads: 1,
  headDim: 2,
  eps: 1e-5,
  rope,
  tied: false,
  qkvBias: false,
  oBias: false,
  mlpBias: false,
  context: 64,
}

/** Widths differ from each other, so that a transposed shape cannot pass. */
export const spec: fc.Arbitrary<ModelSpec> = fc
  .record({
    layers: fc.integer({ min: 1, max: 2 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    group: fc.integer({ min: 1, max: 2 }),
    headDim: fc.constantFrom(2, 4),
    hidden: fc.constantFrom(4, 6),
    intermediate: fc.integer({ min: 3, max: 5 }),
    vocab: fc.integer({ min: 5, max: 7 }),
    tied: fc.boolean(),
    qkvBias: fc.boolean(),
    oBias: fc.boolean(),
    mlpBias: fc.boolean(),
    factor: fc.constantFrom(1, 2),
  })
  .map(({ group, factor, ...s }) => ({
    ...plainSpec,
    ...s,
    heads: s.kvHeads * group,
    rope: { ...rope, dim: s.headDim, factor },
  }))

/** One training example: its tokens, and how many of them are a prompt and not scored. */
export interface Sample {
  readonly tokens: ReadonlyArray<number>
  readonly prompt: number
}

export const LENGTH = 6
const VOCAB = plainSpec.vocab

export const samples = (max: number): fc.Arbitrary<ReadonlyArray<Sample>> =>
  fc.array(
    fc
      .tuple(fc.array(fc.nat(VOCAB - 1), { minLength: 2, maxLength: LENGTH }), fc.nat(4))
      .map(([tokens, prompt]) => ({ tokens, prompt: Math.min(prompt, tokens.length - 1) })),
    { minLength: 1, maxLength: max },
  )

/** Samples into rows of LENGTH tokens, first fit. */
export const pack = (all: ReadonlyArray<Sample>): ReadonlyArray<ReadonlyArray<Sample>> => {
  const rows: Sample[][] = []
  const used = (row: ReadonlyArray<Sample>) => row.reduce((n, s) => n + s.tokens.length, 0)
  for (const s of all) {
    const row = rows.find((r) => used(r) + s.tokens.length <= LENGTH)
    if (row === undefined) rows.push([s])
    else row.push(s)
  }
  return rows
}

/** Target −100 in the prompt and at a sample's last token; a token predicts the one after it. */
const targetsOf = (s: Sample): ReadonlyArray<number> =>
  s.tokens.map((_, i) => (i + 1 < s.prompt || i + 1 >= s.tokens.length ? -100 : s.tokens[i + 1]!))
export const scored = (all: ReadonlyArray<Sample>): number =>
  all.flatMap(targetsOf).filter((t) => t >= 0).length

/** A number for each token by what its sample is and where in it the token stands. */
const keysOf = (s: Sample): ReadonlyArray<number> =>
  s.tokens.map((_, i) => (unit(JSON.stringify(s), i) * 2 ** 31) | 0)

/** Grids [rows, LENGTH]; a row's tail is a segment of its own that is not scored. */
const grids = (rows: ReadonlyArray<ReadonlyArray<Sample>>) => {
  const row =
    (of: (s: Sample, k: number) => ReadonlyArray<number>, tail: number) =>
    (r: ReadonlyArray<Sample>) => {
      const filled = r.flatMap(of)
      return [...filled, ...Array.from({ length: LENGTH - filled.length }, () => tail)]
    }
  return {
    tokens: rows.flatMap(row((s) => s.tokens, 0)),
    positions: rows.flatMap(row((s) => s.tokens.map((_, i) => i), 0)),
    segments: rows.flatMap(row((s, k) => s.tokens.map(() => k + 1), 0)),
    targets: rows.flatMap(row(targetsOf, -100)),
    keys: rows.flatMap(row(keysOf, 0)),
  }
}

/** Weights around one for norms, smaller ones elsewhere, so that a model's activations stay of order one. */
const weights =
  (w: World): World['source'] =>
  (key, count) =>
    w.source(key, count).map((x) => Math.fround(key.includes('norm') ? 1 + x / 4 : x * 0.7))

/** The data of a model on a batch whose loss is divided by `count` scored tokens. */
export const worldOn = (
  seed: number,
  rows: ReadonlyArray<ReadonlyArray<Sample>>,
  count: number,
  more: Readonly<Record<string, number>> = {},
): World => {
  const base = worldOf(seed)
  const batch = grids(rows)
  const scalars: Readonly<Record<string, number>> = {
    inverse_count: 1 / count,
    lr: 0.0625,
    step: 1,
    seed: 7,
    ...more,
  }
  return {
    source: weights(base),
    input: (i) => {
      const given = (batch as Readonly<Record<string, ReadonlyArray<number>>>)[i.name]
      const one = scalars[i.name]
      const values = given ?? (one === undefined ? base.input(i) : [one])
      if (values.length !== size(i.type)) throw new Error(`${i.name} has ${values.length} values`)
      return Float64Array.from(values, round[i.type.dtype as Plain])
    },
  }
}

export const shapes = (rows: number): Shapes => ({ rows, length: LENGTH, generate: null })
export const forward = (s: ModelSpec, rows: number): Program =>
  right(model('tiny', s, shapes(rows)))
export const forwardWithGeneration = (s: ModelSpec): Program =>
  right(
    model('tiny', s, {
      rows: 1,
      length: LENGTH,
      generate: { batch: 2, prompt: 4, capacity: 8 },
    }),
  )

export const adamw: Adam & { readonly clip: number | null } = {
  beta1: 0.9,
  beta2: 0.99,
  eps: 1e-6,
  decay: 0.1,
  decoupled: true,
  clip: 1,
}
export const targets = ['q_proj', 'v_proj', 'down_proj']

/** Every combination of techniques that a config can ask for. */
export const techniques: fc.Arbitrary<Techniques> = fc
  .record({
    rank: fc.constantFrom(0, 1, 2),
    dropout: fc.constantFrom(0, 0.25),
    quantize: fc.constantFrom<Quantize | null>(
      null,
      { block: 4, nested: null },
      { block: 4, nested: 3 },
      { threshold: 1 },
    ),
    compute: fc.constantFrom<'f32' | 'bf16' | 'f16'>('f32', 'bf16', 'f16'),
    clip: fc.constantFrom(null, 0.5),
    decoupled: fc.boolean(),
    recompute: fc.constantFrom<'none' | 'layers' | 'budget'>('none', 'layers', 'budget'),
  })
  .map((o) => ({
    lora: o.rank === 0 ? null : { r: o.rank, alpha: 3, dropout: o.dropout, targets },
    // Without an adapter nothing is frozen, so nothing can be quantized.
    quantize: o.rank === 0 ? null : o.quantize,
    compute: o.compute,
    optimizer: { ...adamw, clip: o.clip, decoupled: o.decoupled },
    recompute: o.recompute === 'budget' ? { _tag: 'budget', bytes: 1 } : { _tag: o.recompute },
  }))
