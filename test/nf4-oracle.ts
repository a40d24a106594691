/** NF4 written a second time, from the published tables and by linear search: what `ir/nf4.ts` is compared with. */

const f32 = (hex: string): number =>
  new DataView(Uint8Array.from(Buffer.from(hex, 'hex')).buffer).getFloat32(0)
const table = (hexes: string): ReadonlyArray<number> => hexes.trim().split(/\s+/).map(f32)

/** bitsandbytes `get_4bit_type("nf4")`, as f32 bits. */
const values = table(
  `bf800000 bf3239b1 bf066b30 beca32a0 be91a24d be3d353f bdba7871 00000000
   3da2faff 3e24cae3 3e7c04dd 3ead033a 3ee1a4b8 3f1007ab 3f3913b3 3f800000`,
)
/** bitsandbytes `dQuantizeNF4`: code k+1 above the k-th threshold. */
const thresholds = table(
  `bf591cd8 bf1c5270 beeb8480 beadea76 be703cec be0d38bc bd3a7871
   3d22faff 3df64862 3e5067e0 3e9582d4 3ec753f9 3f006d04 3f248daf 3f5c89da`,
)

/** bitsandbytes `create_dynamic_map(signed=True)`: for each decade twice as many interval midpoints as for the one below. */
export const dynamicValues: ReadonlyArray<number> = (() => {
  const all = [0, 1]
  for (let i = 0; i < 7; i++) {
    const steps = 2 ** i
    const [lo, hi] = [Math.fround(0.1), 1]
    const width = Math.fround(Math.fround(hi - lo) / steps)
    // torch.linspace walks from both ends to the middle, each point one fused multiply-add.
    const edge = (k: number): number =>
      k < (steps + 1) / 2 ? Math.fround(lo + width * k) : Math.fround(hi - width * (steps - k))
    for (let k = 0; k < steps; k++) {
      const mid = Math.fround(Math.fround(edge(k) + edge(k + 1)) / 2)
      const v = Math.fround(Math.fround(10 ** (i - 6)) * mid)
      all.push(v, -v)
    }
  }
  return all.sort((a, b) => a - b)
})()

const nearestDynamic = (x: number): number =>
  dynamicValues.reduce(
    (best, v, k) => (Math.abs(v - x) < Math.abs(dynamicValues[best]! - x) ? k : best),
    0,
  )

const groups = (x: Float32Array, n: number): ReadonlyArray<Float32Array> =>
  Array.from({ length: Math.ceil(x.length / n) }, (_, i) => x.subarray(i * n, (i + 1) * n))
const largest = (x: Float32Array): number => x.reduce((m, v) => Math.max(m, Math.abs(v)), 0)
/** v / m as the product with a reciprocal, in f32. */
const scaled = (v: number, m: number): number => (m === 0 ? 0 : Math.fround(v * Math.fround(1 / m)))

export interface Oracle {
  readonly codes: ReadonlyArray<number>
  /** Two codes a byte, the first in the high nibble. */
  readonly packed: Uint8Array
  readonly absmax: ReadonlyArray<number>
  readonly nested: {
    readonly codes: ReadonlyArray<number>
    readonly absmax: ReadonlyArray<number>
    readonly offset: number
  } | null
  readonly values: Float32Array
}

export const nf4 = (x: Float32Array, block: number, nestedBlock: number | null): Oracle => {
  const absmax = groups(x, block).map(largest)
  const codes = [...x].map((v, i) => {
    // bitsandbytes on a CPU: a block of zeros gets codes of zero.
    const s = scaled(v, Math.max(absmax[Math.floor(i / block)]!, 1e-38))
    return thresholds.filter((t) => s > t).length
  })
  const packed = Uint8Array.from(
    { length: Math.ceil(codes.length / 2) },
    (_, i) => codes[2 * i]! * 16 + (codes[2 * i + 1] ?? 0),
  )
  const decode = (scales: ReadonlyArray<number>): Float32Array =>
    Float32Array.from(codes, (c, i) => values[c]! * scales[Math.floor(i / block)]!)
  if (nestedBlock === null) return { codes, packed, absmax, nested: null, values: decode(absmax) }
  const offset = Math.fround(absmax.reduce((a, b) => a + b, 0) / absmax.length)
  const centred = Float32Array.from(absmax, (a) => a - offset)
  const second = groups(centred, nestedBlock).map(largest)
  const outer = [...centred].map((c, i) =>
    nearestDynamic(scaled(c, second[Math.floor(i / nestedBlock)]!)),
  )
  const scales = outer.map((q, i) =>
    Math.fround(Math.fround(dynamicValues[q]! * second[Math.floor(i / nestedBlock)]!) + offset),
  )
  return {
    codes,
    packed,
    absmax,
    nested: { codes: outer, absmax: second, offset },
    values: decode(scales),
  }
}
