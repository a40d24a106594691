/** The shapes a program is compiled for: rows and their length, and the grid of generation. */
import { lengthOf, pack } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import { order } from '../data/order.ts'
import type { Config } from '../config/schema/config.ts'
import type { Shapes } from '../models/llama.ts'
import type { ModelSpec } from '../models/spec.ts'
import * as E from 'fp-ts/lib/Either.js'
import { batchingOf } from './batch.ts'
import { sequenceLimit, type Dataset } from './dataset.ts'

/** Most tokens of a micro-step on a CPU: beyond it, values no longer stay in its caches (bench/cpu.ts). */
const CPU_TOKENS = 2048
/** What every micro-step costs whatever it holds, as tokens: launching, and decoding weights if they are quantized. */
const LAUNCH = 32
const DECODE = 100
/** Attention moves memory more than it multiplies: a FLOP of it takes this many of a matrix product's. */
const ATTENTION_WEIGHT = 3.5
/** Effective batches looked at to choose shapes. */
const SAMPLED = 64
/** Sequences answered side by side, and bytes that their caches may take. */
const ANSWERS = 64
const CACHE_BYTES = 2 ** 29

const multiple = (n: number, of: number): number => Math.ceil(n / of) * of

/** Cost of a packed row of T tokens in FLOPs of matrix products: linear layers and the square of attention. */
const rowCost = (s: ModelSpec, length: number): number => {
  const [wide, narrow] = [s.heads * s.headDim, s.kvHeads * s.headDim]
  const linear = 2 * s.hidden * (2 * wide + 2 * narrow + 3 * s.intermediate)
  const attention = ATTENTION_WEIGHT * 4 * wide * length
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

/** Cost of the batches: short rows waste their tails, long ones attention, many rows a half-empty last micro-step. */
const costOf = (s: ModelSpec, needed: ReadonlyArray<number>, g: Grid, fixed: number): number => {
  const steps = needed.reduce((n, rows) => n + Math.ceil(rows / g.rows), 0)
  const overhead = (fixed / g.length) * rowCost(s, g.length)
  return steps * (g.rows * rowCost(s, g.length) + overhead)
}

/** Row lengths are tried from the longest sample to this many times more. */
const LONGER = 3

const range = (n: number): ReadonlyArray<number> => Array.from({ length: n }, (_, i) => i + 1)

/** The cheapest grid for the batches of the first epoch; what the config fixes is not varied. */
export const gridOf = (
  c: Config,
  s: ModelSpec,
  batches: ReadonlyArray<ReadonlyArray<Sample>>,
  longest = batches.flat().reduce((m, x) => Math.max(m, lengthOf(x)), 1),
): Grid => {
  const { row_length: length, micro_batch_rows: rows } = c.compiler
  const limit = sequenceLimit(c, s)
  const fixed = LAUNCH + (c.quantization === null ? 0 : DECODE)
  const lengths =
    length === 'auto'
      ? range(Math.ceil((LONGER * longest) / 8))
          .map((k) => multiple(longest, 8) + 8 * (k - 1))
          .filter((n, i) => i === 0 || (n <= limit && n <= CPU_TOKENS))
      : [length]
  const grids = lengths.flatMap((n) => {
    const needed = rowsOf(batches, n)
    const most = Math.max(1, Math.min(Math.max(...needed), Math.floor(CPU_TOKENS / n)))
    return (rows === 'auto' ? range(most) : [rows]).map((r) => {
      const grid = { rows: r, length: n }
      return { grid, cost: costOf(s, needed, grid, fixed) }
    })
  })
  return grids.reduce((best, g) => (g.cost < best.cost ? g : best)).grid
}

/** Ludwig's rule for `generation.max_new_tokens`. */
export const maxNewTokens = (c: Config, spec: ModelSpec): number => {
  const said = c.generation.max_new_tokens
  if (said !== null) return said
  const cap =
    c.output_features[0].preprocessing.max_sequence_length ??
    c.preprocessing.global_max_sequence_length
  return cap === null ? Math.floor(spec.context / 2) : Math.max(32, cap)
}

/** A grid that holds the longest of the given prompts and its answer; prompts share the batches evenly. */
export const generationShapes = (
  c: Config,
  spec: ModelSpec,
  promptLengths: ReadonlyArray<number>,
): NonNullable<Shapes['generate']> => {
  const longest = promptLengths.reduce((m, n) => Math.max(m, n), 1)
  const prompt = Math.min(multiple(longest, 8), spec.context)
  const capacity = Math.min(spec.context, prompt + maxNewTokens(c, spec))
  const row = spec.layers * 2 * spec.kvHeads * spec.headDim * capacity * 4
  const most = Math.max(1, Math.min(ANSWERS, Math.floor(CACHE_BYTES / row)))
  const batches = Math.max(1, Math.ceil(promptLengths.length / most))
  return { batch: Math.max(1, Math.ceil(promptLengths.length / batches)), prompt, capacity }
}

/** The effective batches of the first epochs, as many as are looked at. */
const firstBatches = (
  c: Config,
  data: Dataset,
  effective: number,
): ReadonlyArray<ReadonlyArray<Sample>> => {
  const { train } = data.samples
  const each = Math.ceil(train.length / effective)
  const all = range(Math.ceil(SAMPLED / each)).flatMap((epoch) => {
    const ids = order(train.length, c.random_seed, epoch - 1, c.trainer.should_shuffle)
    return range(each).map((i) =>
      ids.slice((i - 1) * effective, i * effective).map((id) => train[id]!),
    )
  })
  return all.slice(0, SAMPLED)
}

const withData = (c: Config, spec: ModelSpec, data: Dataset): Shapes => {
  const all = Object.values(data.samples).flat()
  const longest = all.reduce((m, x) => Math.max(m, lengthOf(x)), 1)
  const mean = all.reduce((n, s) => n + lengthOf(s), 0) / all.length
  const { effective } = batchingOf(c.trainer, Math.floor(CPU_TOKENS / mean))
  const held = [...data.samples.test, ...data.samples.validation].map((s) => s.prompt.length)
  return {
    ...gridOf(c, spec, firstBatches(c, data, effective), longest),
    generate: held.length === 0 ? null : generationShapes(c, spec, held),
  }
}

/** Without data: the longest sequence allowed, one row a sample of Ludwig's micro-batch. */
const withoutData = (c: Config, spec: ModelSpec): Shapes => {
  const { row_length: length, micro_batch_rows: rows } = c.compiler
  return {
    rows: rows === 'auto' ? batchingOf(c.trainer, 1).batch : rows,
    length: length === 'auto' ? sequenceLimit(c, spec) : length,
    generate: null,
  }
}

export const shapesOf = (c: Config, spec: ModelSpec, data: Dataset | null): Shapes =>
  data === null ? withoutData(c, spec) : withData(c, spec, data)
