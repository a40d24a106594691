/** Attention on tensor cores: which kernels take which shapes, what they need, and the cards that launch them. */
import { attentionGradMma, attentionMma } from './attention-mma.ts'
import { attentionGradWgmma, attentionWgmma } from './attention-wgmma.ts'
import type { AttentionDims, AttentionGradOperands, AttentionOperands } from './attention.ts'
import {
  at,
  divide,
  elementBytes,
  kernel,
  launch,
  macros,
  u32,
  type KernelLaunch,
  type Place,
  type Rows,
} from './card.ts'

/** What the device has: no bf16 products and 64 KB of shared memory (75), mma and cp.async (80 and later), wgmma (90a). */
export type Target = 75 | 80 | '90a'
export type MmaEngine = 'mma75' | 'mma'
export type Engine = MmaEngine | 'wgmma'

const WIDTHS: ReadonlySet<number> = new Set([16, 32, 64, 96, 128])

/** The kernels for a shape on a device, or null: then `attention` of attention.ts takes it. */
export const engineOf = (o: AttentionDims, target: Target): Engine | null => {
  if (!WIDTHS.has(o.dim) || o.dtype === 'f32') return null
  if (target === 75) return o.dtype === 'f16' ? 'mma75' : null
  const wide = o.dim === 64 || o.dim === 128
  return target === '90a' && wide && o.length % 4 === 0 ? 'wgmma' : 'mma'
}

/** What every matrix operand of the fast kernels has to be: 16-byte aligned, first element and rows. */
export const aligned = (o: AttentionDims, ...operands: ReadonlyArray<Rows>): boolean =>
  operands.every((r) => r.offset % 16 === 0 && (r.ld * elementBytes[o.dtype]) % 16 === 0)

/** Lowest and highest segment of every 64 tokens, the same for every layer of a function; behind them a counter of drawn tiles. */
export const rangesBytes = (o: AttentionDims): number => counterAt(o) + 8
const counterAt = (o: AttentionDims): number => 8 * o.rows * divide(o.length, 64)
/** Statistics that the backward's first kernel leaves for its second; a tile may be read past the end. */
export const statBytes = (o: AttentionDims): number => 8 * o.heads * o.rows * o.length + 256

/** Fills `ranges`; once wherever segments change. */
export const segmentRanges = (
  o: AttentionDims & { readonly segments: Place; readonly ranges: Place },
): KernelLaunch =>
  launch(
    kernel('attention_mma.cu', 'segment_ranges', {
      ...macros(o.dtype === 'f32' ? 'f16' : o.dtype),
      D: 16,
      WARPS: 4,
      STAGES: 1,
    }),
    [divide(o.length, 64), o.rows],
    32,
    [at(o.segments), at(o.ranges), at(o.ranges + counterAt(o)), u32(o.length)],
    4 * o.rows * o.length + rangesBytes(o),
    0,
  )

export interface Fast {
  /** `rangesBytes`, filled by `segmentRanges` of the same segments. Two launches that share it do not run at the same time. */
  readonly ranges: Place
}
/** Tables by which dq and dk are turned back before they are rounded. */
export interface TurnBack {
  readonly cos: Place
  readonly sin: Place
}

const needAligned = (o: AttentionDims, operands: ReadonlyArray<Rows>): void => {
  if (!aligned(o, ...operands)) throw new Error('fast attention needs 16-byte aligned operands')
}

export const attentionOn = (
  engine: Engine,
  o: AttentionOperands & Fast,
): ReadonlyArray<KernelLaunch> => {
  needAligned(o, [o.q, o.k, o.v, o.out])
  return [
    engine === 'wgmma'
      ? attentionWgmma({ ...o, counter: o.ranges + counterAt(o) })
      : attentionMma(engine, o),
  ]
}

/** `workspace` has `statBytes`. */
export const attentionGradOn = (
  engine: Engine,
  o: AttentionGradOperands & Fast & { readonly turn?: TurnBack },
): ReadonlyArray<KernelLaunch> => {
  needAligned(o, [o.q, o.k, o.v, o.out, o.ct, o.dq, o.dk, o.dv])
  return engine === 'wgmma' ? attentionGradWgmma(o) : attentionGradMma(engine, o)
}
