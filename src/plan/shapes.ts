/** The shapes a program is compiled for: rows and their length, and the grid of generation. */
import { lengthOf, pack } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import type { Config } from '../config/schema/config.ts'
import type { Shapes } from '../models/llama.ts'
import type { ModelSpec } from '../models/spec.ts'
import * as E from 'fp-ts/lib/Either.js'
import { batchingOf } from './batch.ts'
import { sequenceLimit, type Dataset } from './dataset.ts'

/** Tokens of a micro-step at which a CPU's caches serve it best (bench/cpu.ts). */
const CPU_TOKENS = 1024
/** Sequences answered side by side. */
const ANSWERS = 32

const multiple = (n: number, of: number): number => Math.ceil(n / of) * of

/** FLOPs of a packed row of T tokens, forward: linear layers and the square of attention. */
const rowCost = (s: ModelSpec, length: number): number => {
  const [wide, narrow] = [s.heads * s.headDim, s.kvHeads * s.headDim]
  const linear = 2 * s.hidden * (2 * wide + 2 * narrow + 3 * s.intermediate)
  return length * (s.layers * (linear + 4 * wide * length) + 2 * s.hidden * s.vocab)
}

const rowsNeeded = (samples: ReadonlyArray<Sample>, length: number): number => {
  const packed = pack(samples, { rowLength: length })
  return E.isRight(packed) ? packed.right.length : Infinity
}

/** The row length at which all samples cost least: short rows waste their tails, long ones attention. */
const cheapestLength = (s: ModelSpec, samples: ReadonlyArray<Sample>, limit: number): number => {
  const longest = samples.reduce((m, x) => Math.max(m, lengthOf(x)), 1)
  const tries = [1, 1.25, 1.5, 2, 3, 4]
    .map((k) => multiple(longest * k, 8))
    .filter((n, i) => i === 0 || n <= limit)
  const cost = (n: number) => rowsNeeded(samples, n) * rowCost(s, n)
  return tries.reduce((best, n) => (cost(n) < cost(best) ? n : best))
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

/** A grid that holds the longest of the given prompts and its answer. */
export const generationShapes = (
  c: Config,
  spec: ModelSpec,
  promptLengths: ReadonlyArray<number>,
): NonNullable<Shapes['generate']> => {
  const longest = promptLengths.reduce((m, n) => Math.max(m, n), 1)
  const prompt = Math.min(multiple(longest, 8), spec.context)
  return {
    batch: Math.max(1, Math.min(ANSWERS, promptLengths.length)),
    prompt,
    capacity: Math.min(spec.context, prompt + maxNewTokens(c, spec)),
  }
}

const withData = (c: Config, spec: ModelSpec, data: Dataset): Shapes => {
  const all = Object.values(data.samples).flat()
  const limit = sequenceLimit(c, spec)
  const { row_length: said, micro_batch_rows: rows } = c.compiler
  const length = said === 'auto' ? cheapestLength(spec, all, limit) : said
  const mean = all.reduce((n, s) => n + lengthOf(s), 0) / all.length
  const fitting = Math.max(1, Math.floor(CPU_TOKENS / mean))
  const needed = Math.ceil((batchingOf(c.trainer, fitting).effective * mean) / length)
  const held = [...data.samples.test, ...data.samples.validation].map((s) => s.prompt.length)
  return {
    rows: rows === 'auto' ? Math.max(1, Math.min(needed, Math.round(CPU_TOKENS / length))) : rows,
    length,
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
