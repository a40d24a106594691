/** NF4 (Dettmers et al. 2023): 4-bit codes with one scale per block, the scales optionally 8-bit themselves. */
import { dynamicMap } from './dynamic-map.ts'
import { blocks, parts, size, tensor, type FourBit, type TensorType } from './type.ts'

/** Code to value in [−1, 1]: quantiles of a normal distribution, with an exact zero. */
export const codebook: Float32Array = Float32Array.of(
  -1,
  -0.6961928009986877,
  -0.5250730514526367,
  -0.39491748809814453,
  -0.28444138169288635,
  -0.18477343022823334,
  -0.09105003625154495,
  0,
  0.07958029955625534,
  0.16093020141124725,
  0.24611230194568634,
  0.33791524171829224,
  0.44070982933044434,
  0.5626170039176941,
  0.7229568362236023,
  1,
)

/** Code k+1 is chosen above the k-th midpoint; a tie goes to the lower code. */
const midpoints = codebook.slice(1).map((hi, k) => Math.fround((hi + codebook[k]!) / 2))

const code = (x: number): number => {
  let k = 0
  for (let step = 8; step > 0; step >>= 1) if (x > midpoints[k + step - 1]!) k += step
  return k
}

/** Nearest entry of the dynamic map; a tie goes to the lower code. */
const dynamicCode = (x: number): number => {
  let [lo, hi] = [0, 255]
  while (hi - lo > 1) {
    const mid = (lo + hi) >> 1
    if (dynamicMap[mid]! <= x) lo = mid
    else hi = mid
  }
  return x - dynamicMap[lo]! > dynamicMap[hi]! - x ? hi : lo
}

const blockMaxima = (x: ArrayLike<number>, block: number): Float32Array => {
  const r = new Float32Array(Math.ceil(x.length / block))
  for (let i = 0; i < x.length; i++) {
    const [b, a] = [Math.floor(i / block), Math.abs(x[i]!)]
    if (a > r[b]!) r[b] = a
  }
  return r
}

/** Views of the parts of an encoded tensor inside its bytes. */
export const views = (type: TensorType, bytes: Uint8Array) => {
  const at = new Map(parts(type).map((p) => [p.name, p]))
  const u8 = (name: 'codes' | 'scales') => {
    const p = at.get(name)!
    return bytes.subarray(p.at, p.at + p.count)
  }
  const f32 = (name: 'scales' | 'nested' | 'offset') => {
    const p = at.get(name)!
    return new Float32Array(bytes.buffer, bytes.byteOffset + p.at, p.count)
  }
  return { u8, f32 }
}

const quantizeScales = (maxima: Float32Array, nested: number, out: ReturnType<typeof views>) => {
  let total = 0
  for (const m of maxima) total += m
  const offset = Math.fround(total / maxima.length)
  const centred = maxima.map((m) => m - offset)
  const scales = blockMaxima(centred, nested)
  out.f32('offset')[0] = offset
  out.f32('nested').set(scales)
  const codes = out.u8('scales')
  centred.forEach((c, i) => {
    const s = scales[Math.floor(i / nested)]!
    codes[i] = dynamicCode(s === 0 ? 0 : Math.fround(c * Math.fround(1 / s)))
  })
}

/** Encodes f32 values row-major; `bytes` has the layout of `parts(type)`, two codes a byte, the first in the high nibble. */
export const quantize = (x: Float32Array, type: TensorType, bytes: Uint8Array): void => {
  const { block, nested } = blocks(type.dtype as FourBit)
  const out = views(type, bytes)
  const maxima = blockMaxima(x, block)
  const codes = out.u8('codes').fill(0)
  for (let i = 0; i < x.length; i++) {
    // All-zero blocks have no scale; any code decodes to zero, 7 is the one that means it.
    const m = Math.max(maxima[Math.floor(i / block)]!, 1e-38)
    const c = code(Math.fround(x[i]! * Math.fround(1 / m)))
    codes[i >> 1]! |= i % 2 === 0 ? c << 4 : c
  }
  if (nested === 0) out.f32('scales').set(maxima)
  else quantizeScales(maxima, nested, out)
}

/** The f32 scale of every block. */
export const scalesOf = (type: TensorType, bytes: Uint8Array): Float32Array => {
  const { nested } = blocks(type.dtype as FourBit)
  const from = views(type, bytes)
  if (nested === 0) return from.f32('scales')
  const [second, offset] = [from.f32('nested'), from.f32('offset')[0]!]
  // Two roundings, product then sum, as bitsandbytes computes it.
  return Float32Array.from(
    from.u8('scales'),
    (c, i) => Math.fround(dynamicMap[c]! * second[Math.floor(i / nested)]!) + offset,
  )
}

/** Decodes to f32 values: codebook entry × block scale, rounded once. */
export const dequantize = (type: TensorType, bytes: Uint8Array): Float32Array => {
  const { block } = blocks(type.dtype as FourBit)
  const [codes, scales] = [views(type, bytes).u8('codes'), scalesOf(type, bytes)]
  const r = new Float32Array(size(type))
  for (let i = 0; i < r.length; i++) {
    const pair = codes[i >> 1]!
    r[i] = codebook[i % 2 === 0 ? pair >> 4 : pair & 15]! * scales[Math.floor(i / block)]!
  }
  return r
}

/** The values after one trip through the encoding. */
export const roundTrip = (x: Float32Array, dtype: FourBit): Float32Array => {
  const type = tensor(dtype, x.length)
  const last = parts(type).at(-1)!
  const bytes = new Uint8Array(last.at + 4 * last.count)
  quantize(x, type, bytes)
  return dequantize(type, bytes)
}
