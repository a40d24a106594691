/** How fast a card is and what it takes besides the arena: measured once a machine, and what is assumed where nothing was measured. */
import * as t from 'io-ts'
import type { Float8 } from '../../ir/number.ts'
import type { Float } from '../../ir/type.ts'
import type { Launch } from './launch.ts'

export const calibrationCodec = t.type({
  /** Bytes a second of a copy, read and write counted. */
  copy: t.number,
  /** FLOPs a second of large products. */
  products: t.type({ f32: t.number, f16: t.number, bf16: t.number }),
  /** Times its floor that a group of launches takes; `other` for those not named. */
  slower: t.record(t.string, t.number),
  /** Of the time that decoding takes, what is saved where weights stay decoded: products that follow one another closer are slowed by their power. */
  kept: t.number,
  /** Seconds between two launches of a graph. */
  gap: t.number,
  /** Seconds of the smallest launch. */
  least: t.number,
  /** Device memory of context and libraries. */
  contextBytes: t.number,
})
export type Calibration = t.TypeOf<typeof calibrationCodec>

/**
 * Two H100 80GB HBM3, as `calibrate` measured them: a copy and a square product on end reach less than the launches of a step do, so groups that run
 * better than these rates are below one. Groups are those of `tunec profile` on Llama-2-7B, 4 × 1 × 2,048 tokens, LoRA r=8 on q, k and v.
 */
export const h100Calibration: Calibration = {
  copy: 2.76e12,
  products: { f32: 5.1e13, f16: 6.5e14, bf16: 6.6e14 },
  slower: {
    product: 0.865,
    decode: 1.045,
    quantize: 1.1,
    attention: 1.69,
    swiglu: 0.93,
    norm: 1.105,
    rope: 1.15,
    lora: 1.34,
    loss: 0.89,
    optimizer: 2,
    other: 1.5,
  },
  // In one run a step on 1 × 2,048 tokens took 105.0 ms, 101.0 with all layers kept; their launches would take 6.0 ms less.
  kept: 0.67,
  gap: 0.8e-6,
  least: 2e-6,
  contextBytes: 600_000_000,
}

const dtypeOf = (l: Launch): Float | Float8 => {
  if (l._tag === 'product') return l.a.dtype
  if (l._tag !== 'kernel') return 'f32'
  return 'E_BF16' in l.kernel.defines ? 'bf16' : 'E_F16' in l.kernel.defines ? 'f16' : 'f32'
}

/** Products of 8-bit floats beside those of bf16, as measured on an H100. */
const FLOAT8 = 1.85
const rateOf = (l: Launch, { products }: Calibration): number => {
  const dtype = dtypeOf(l)
  return dtype === 'e4m3' || dtype === 'e5m2' ? FLOAT8 * products.bf16 : products[dtype]
}

/** Predicted seconds of one launch: its floor at the card's rates, times what its group makes of it. */
export const secondsOf = (l: Launch, c: Calibration): number =>
  Math.max(
    c.least,
    Math.max(l.bytes / c.copy, l.flops / rateOf(l, c)) *
      (c.slower[l.group] ?? c.slower['other'] ?? 1),
  ) + c.gap

export const secondsOfAll = (list: ReadonlyArray<Launch>, c: Calibration): number =>
  list.reduce((s, l) => s + secondsOf(l, c), 0)
