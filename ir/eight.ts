/** 8-bit state in blocks of 256 (Dettmers et al. 2022): codes of a dynamic map, and the largest magnitude of each block. */
import { dynamicMap } from './dynamic-map.ts'
import { unsignedMap } from './unsigned-map.ts'

export const BLOCK = 256

export const mapOf = (unsigned: boolean): Float32Array => (unsigned ? unsignedMap : dynamicMap)

/** A number's code is how many thresholds lie below it: the middles of neighbours, and what is negative never becomes 0. */
const thresholds = (map: Float32Array): Float32Array =>
  map.slice(1).map((hi, k) => {
    const lo = map[k]!
    return hi === 0 ? -(2 ** -149) : Math.fround(Math.fround(lo + hi) / 2)
  })
const signedThresholds = thresholds(dynamicMap)
const unsignedThresholds = thresholds(unsignedMap)

export const thresholdsOf = (unsigned: boolean): Float32Array =>
  unsigned ? unsignedThresholds : signedThresholds

/** Code of a number in [−1, 1]. */
export const codeOf = (t: Float32Array, x: number): number => {
  let k = 0
  for (let step = 128; step > 0; step >>= 1) if (x > t[k + step - 1]!) k += step
  return k
}

export interface Eight {
  readonly codes: Float64Array
  readonly scales: Float64Array
}

/** A block of zeros has no scale; its codes are those of 0. */
export const encode = (unsigned: boolean, x: ArrayLike<number>): Eight => {
  const t = thresholdsOf(unsigned)
  const scales = new Float64Array(Math.ceil(x.length / BLOCK))
  for (let i = 0; i < x.length; i++) {
    const b = Math.floor(i / BLOCK)
    scales[b] = Math.max(scales[b]!, Math.fround(Math.abs(x[i]!)))
  }
  const codes = Float64Array.from(x, (v, i) => {
    const scale = scales[Math.floor(i / BLOCK)]!
    return codeOf(t, scale === 0 ? 0 : Math.fround(Math.fround(v) / scale))
  })
  return { codes, scales }
}

export const decode = (unsigned: boolean, { codes, scales }: Eight): Float64Array => {
  const map = mapOf(unsigned)
  return codes.map((c, i) => map[c]! * scales[Math.floor(i / BLOCK)]!)
}
