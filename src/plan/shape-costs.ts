/** What rows of tokens cost on a backend besides the products in them: what the choice of grids goes by. */
import type { ModelSpec } from '../models/spec.ts'
import type { Device } from './device.ts'

export interface ShapeCosts {
  /** Most tokens of a micro-step; beyond it nothing is gained. */
  readonly tokens: number
  /** Tokens of a batch that nobody gives. */
  readonly batchTokens: number
  /** What every micro-step costs whatever it holds, as tokens. */
  readonly fixed: (s: ModelSpec, quantized: boolean) => number
  /** A FLOP of attention takes as long as so many of a matrix product. */
  readonly attention: number
  /** Sequences answered side by side, and bytes that their caches may take. */
  readonly answers: number
  readonly cacheBytes: number
}

/** Beyond 2,048 tokens values no longer stay in a CPU's caches (bench/cpu.ts); launching takes 32 tokens' time, decoding weights 100. */
export const cpuShapes: ShapeCosts = {
  tokens: 2048,
  batchTokens: 2048,
  fixed: (_, quantized) => 32 + (quantized ? 100 : 0),
  attention: 3.5,
  answers: 64,
  cacheBytes: 2 ** 29,
}

/** Launches of a layer, forward and backward (Llama-2-7B with LoRA: 1,485 for 32 layers). */
const LAUNCHES = 46
/** A layer's NF4 weights are decoded in the forward and in the backward: half a byte read and two written, twice. */
const DECODED = 2 * 2.5

/** FLOPs of a token in a layer's products, forward and towards the activations. */
const flopsOf = (s: ModelSpec): number =>
  4 * s.hidden * (2 * s.heads * s.headDim + 2 * s.kvHeads * s.headDim + 3 * s.intermediate)

export const gpuShapes = ({ calibration: c }: Device): ShapeCosts => ({
  tokens: 65536,
  batchTokens: 8192,
  fixed: (s, quantized) => {
    const weights = flopsOf(s) / 4
    const seconds = LAUNCHES * (c.gap + c.least) + (quantized ? (DECODED * weights) / c.copy : 0)
    return seconds / (flopsOf(s) / c.products.bf16)
  },
  attention: c.slower['attention'] ?? 1,
  answers: 64,
  cacheBytes: 2 ** 29,
})
