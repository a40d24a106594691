/** The shapes a program is compiled for: rows and their length, and the grid of generation. */
import { lengthOf, pack, roomOf } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import { order } from '../data/order.ts'
import { resolveBatch, type Config } from '../config/index.ts'
import { answerCap } from '../config/outputs.ts'
import type { Shapes } from '../models/llama.ts'
import type { ModelSpec } from '../models/spec.ts'
import * as E from 'fp-ts/lib/Either.js'
import { batchingOf, type Batching } from './batch.ts'
import { sequenceLimit, type Dataset } from './dataset.ts'
import { cpuShapes, type ShapeCosts } from './shape-costs.ts'

/** Effective batches looked at to choose shapes. */
const SAMPLED = 64
const multiple = (n: number, of: number): number => Math.ceil(n / of) * of

/** Cost of a packed row of T tokens in FLOPs of matrix products: linear layers and the square of attention. */
const rowCost = (s: ModelSpec, length: number, costs: ShapeCosts): number => {
  const [wide, narrow] = [s.heads * s.headDim, s.kvHeads * s.headDim]
  const linear = 2 * s.hidden * (2 * wide + 2 * narrow + 3 * s.intermediate)
  const attention = costs.attention * 4 * wide * length
  return length * (s.layers * (linear + attention) + 2 * s.hidden * s.vocab)
}

/** Rows of T tokens that each effective batch needs. */
const rowsOf = (
  batches: ReadonlyArray<ReadonlyArray<Sample>>,
  length: number,
): ReadonlyArray<number> =>
  batches.map((b) => {
    const packed = pack(b, { rowLength: length })
    return E.isRight(packed) ? packed.right.length : Infinity
  })

export interface Grid {
  readonly rows: number
  readonly length: number
}

/** Micro-steps that batches take which need so many rows each. */
const microSteps = (needed: ReadonlyArray<number>, rows: number): number =>
  needed.reduce((n, all) => n + Math.ceil(all / rows), 0)

/** Cost of the batches: short rows waste their tails, long ones attention, many rows a half-empty last micro-step. */
const costOf = (
  s: ModelSpec,
  needed: ReadonlyArray<number>,
  g: Grid,
  fixed: number,
  costs: ShapeCosts,
): number => {
  const row = rowCost(s, g.length, costs)
  return microSteps(needed, g.rows) * (g.rows * row + (fixed / g.length) * row)
}

/** Row lengths are tried from the longest sample to this many times more. */
const LONGER = 3

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i + 1)

/** The cheapest grid for the batches of the first epoch; what the config fixes is not varied. */
export const gridOf = (
  c: Config,
  s: ModelSpec,
  batches: ReadonlyArray<ReadonlyArray<Sample>>,
  longest = batches.flat().reduce((m, x) => Math.max(m, roomOf(x)), 1),
  costs: ShapeCosts = cpuShapes,
): Grid => {
  const { row_length: length, micro_batch_rows: rows } = c.compiler
  const limit = sequenceLimit(c, s)
  const fixed = costs.fixed(s, c.quantization !== null)
  const lengths =
    length === 'auto'
      ? range(Math.ceil((LONGER * longest) / 8))
          .map((k) => multiple(longest, 8) + 8 * (k - 1))
          .filter((n, i) => i === 0 || (n <= limit && n <= costs.tokens))
      : [length]
  const grids = lengths.flatMap((n) => {
    const needed = rowsOf(batches, n)
    const most = Math.max(1, Math.min(Math.max(1, ...needed), Math.floor(costs.tokens / n)))
    return (rows === 'auto' ? range(most) : [rows]).map((r) => {
      const grid = { rows: r, length: n }
      return { grid, cost: costOf(s, needed, grid, fixed, costs) }
    })
  })
  return grids.reduce((best, g) => (g.cost < best.cost ? g : best)).grid
}

/** Ludwig's rule for `generation.max_new_tokens`. */
export const maxNewTokens = (c: Config, spec: ModelSpec): number => {
  const said = c.generation.max_new_tokens
  if (said !== null) return said
  const cap = answerCap(c) ?? c.preprocessing.global_max_sequence_length
  return cap === null ? Math.floor(spec.context / 2) : Math.max(32, cap)
}

/** A grid that holds the longest of the given prompts and its answer; prompts share the batches evenly. */
export const generationShapes = (
  c: Config,
  spec: ModelSpec,
  promptLengths: ReadonlyArray<number>,
  costs: ShapeCosts = cpuShapes,
): NonNullable<Shapes['generate']> => {
  const longest = promptLengths.reduce((m, n) => Math.max(m, n), 1)
  const prompt = Math.min(multiple(longest, 8), spec.context)
  const capacity = Math.min(spec.context, prompt + maxNewTokens(c, spec))
  const beams = c.generation.num_beams
  const row = spec.layers * 2 * spec.kvHeads * spec.headDim * capacity * 4
  const rows = Math.min(costs.answers, Math.floor(costs.cacheBytes / row))
  const most = Math.max(1, Math.floor(rows / beams))
  const batches = Math.max(1, Math.ceil(promptLengths.length / most))
  const prompts = Math.max(1, Math.ceil(promptLengths.length / batches))
  return {
    batch: prompts * beams,
    prompt,
    capacity,
    ...(beams === 1 ? {} : { beams }),
  }
}

/** The effective batches of the first epochs, as many as are looked at. */
const firstBatches = (
  c: Config,
  data: Dataset,
  effective: number,
): ReadonlyArray<ReadonlyArray<Sample>> => {
  const { train } = data.samples
  // Rows that are only asked may all be held out, or have no answers to measure.
  if (train.length === 0) {
    const held = [...data.samples.validation, ...data.samples.test]
    return held.length === 0 ? [] : [held.slice(0, SAMPLED)]
  }
  const each = Math.ceil(train.length / effective)
  const all = range(Math.ceil(SAMPLED / each)).flatMap((epoch) => {
    const ids = order(train.length, c.random_seed, epoch - 1, c.trainer.should_shuffle)
    return range(each).map((i) =>
      ids.slice((i - 1) * effective, i * effective).map((id) => train[id]!),
    )
  })
  return all.slice(0, SAMPLED)
}

const meanOf = (all: ReadonlyArray<Sample>): number =>
  all.length === 0 ? 1 : all.reduce((n, s) => n + lengthOf(s), 0) / all.length

const batchingWith = (c: Config, data: Dataset, costs: ShapeCosts): Batching =>
  batchingOf(c.trainer, Math.floor(costs.batchTokens / meanOf(Object.values(data.samples).flat())))

/** Heads over vectors that were computed before take a whole optimizer step at once. */
const isCached = ({ input_features: [{ preprocessing }] }: Config): boolean =>
  preprocessing.cache_encoder_embeddings

const withData = (c: Config, spec: ModelSpec, data: Dataset, costs: ShapeCosts): Shapes => {
  const all = Object.values(data.samples).flat()
  const longest = all.reduce((m, x) => Math.max(m, roomOf(x)), 1)
  if (isCached(c)) {
    const rows = Math.max(
      1,
      Math.min(batchingWith(c, data, costs).effective, data.samples.train.length),
    )
    return { rows, length: longest, generate: null }
  }
  const held = [...data.samples.test, ...data.samples.validation].map((s) => s.prompt.length)
  return {
    ...gridOf(
      c,
      spec,
      firstBatches(c, data, batchingWith(c, data, costs).effective),
      longest,
      costs,
    ),
    generate:
      held.length === 0 || c.model_type === 'ecd' ? null : generationShapes(c, spec, held, costs),
  }
}

const answersOf = ({ trainer }: Config): number => (trainer.rejected_column === null ? 1 : 2)

/** An encoder's texts are cut at a length of their own. */
const longestWithout = (c: Config, spec: ModelSpec): number => {
  const cap = c.model_type === 'ecd' ? c.input_features[0].preprocessing.max_sequence_length : null
  return Math.min(sequenceLimit(c, spec), cap ?? Infinity)
}

/** Without data: the longest sequence allowed, one row a sample of Ludwig's micro-batch. */
const withoutData = (c: Config, spec: ModelSpec): Shapes => {
  const { row_length: length, micro_batch_rows: rows } = c.compiler
  return {
    rows: rows === 'auto' ? batchingOf(c.trainer, 1).batch : rows,
    // A pair lies in one row.
    length: length === 'auto' ? longestWithout(c, spec) * answersOf(c) : length,
    generate:
      c.trainer.type === 'none' && c.model_type === 'llm'
        ? generationShapes(c, spec, [sequenceLimit(c, spec)])
        : null,
  }
}

export const shapesOf = (
  c: Config,
  spec: ModelSpec,
  data: Dataset | null,
  costs: ShapeCosts = cpuShapes,
): Shapes => (data === null ? withoutData(c, spec) : withData(c, spec, data, costs))

/** Shapes that a step could be compiled for. */
export interface Candidate {
  readonly shapes: Shapes
  /** Micro-steps of an optimizer step, on average. */
  readonly microSteps: number
  /** Optimizer steps weigh alike where the config gives their samples; else each is worth what it holds. */
  readonly worth: number
}

/** Rows at once that make 1, 2, 3, … micro-steps of so many. */
const splits = (rows: number): ReadonlyArray<number> => [
  ...new Set(range(rows).map((k) => Math.ceil(rows / k))),
]

const candidate = (c: Config, shapes: Shapes, microSteps: number): Candidate => {
  const { effective_batch_size: all, gradient_accumulation_steps: steps } = resolveBatch(c.trainer)
  if (all !== 'auto') return { shapes, microSteps, worth: 1 }
  const times = steps === 'auto' ? 1 : steps
  return { shapes, microSteps: times, worth: times * shapes.rows * shapes.length }
}

const candidatesWithData = (
  c: Config,
  spec: ModelSpec,
  data: Dataset,
  costs: ShapeCosts,
): ReadonlyArray<Candidate> => {
  const batches = firstBatches(c, data, batchingWith(c, data, costs).effective)
  const start = withData(c, spec, data, costs)
  const needed = rowsOf(batches, start.length)
  const most = Math.max(1, Math.floor(costs.tokens / start.length))
  const rows =
    c.compiler.micro_batch_rows === 'auto' && !isCached(c)
      ? splits(Math.max(...needed)).filter((r) => r <= most)
      : [start.rows]
  return rows.map((r) =>
    candidate(c, { ...start, rows: r }, microSteps(needed, r) / batches.length),
  )
}

const candidatesWithout = (
  c: Config,
  spec: ModelSpec,
  costs: ShapeCosts,
): ReadonlyArray<Candidate> => {
  const start = withoutData(c, spec)
  const fitting = Math.floor(costs.batchTokens / start.length)
  const { effective } = batchingOf(c.trainer, Math.max(1, fitting))
  const rows = c.compiler.micro_batch_rows === 'auto' ? splits(effective) : [start.rows]
  return rows.map((r) => candidate(c, { ...start, rows: r }, Math.ceil(effective / r)))
}

/** What the planner chooses among: micro-batches of an optimizer step merged and split, most rows first; what the config fixes stays. */
export const candidatesOf = (
  c: Config,
  spec: ModelSpec,
  data: Dataset | null,
  costs: ShapeCosts,
): ReadonlyArray<Candidate> =>
  data === null ? candidatesWithout(c, spec, costs) : candidatesWithData(c, spec, data, costs)
