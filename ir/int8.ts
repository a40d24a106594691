/** 8-bit integers with a scale a row, as LLM.int8() stores weights (Dettmers et al. 2022): the scale is the row's largest magnitude. */
import { toHalves } from './number.ts'
import { parts, rowsOf, type TensorType } from './type.ts'

export const LARGEST = 127
export const INVERSE = Math.fround(1 / LARGEST)

/** Half-way goes to the even integer. */
export const nearestInteger = (x: number): number => {
  const low = Math.floor(x)
  const above = x - low
  return above < 0.5 || (above === 0.5 && low % 2 === 0) ? low : low + 1
}

/** What a row's values are multiplied by: torch's 127 / x, a reciprocal and a product. A row of zeros has codes of zero. */
export const factorOf = (most: number): number =>
  most === 0 ? 0 : Math.fround(Math.fround(1 / most) * LARGEST)

/** Views of codes and scales inside the bytes of a tensor. */
export const views = (type: TensorType, bytes: Uint8Array) => {
  const [codes, scales] = parts(type)
  return {
    codes: new Int8Array(bytes.buffer, bytes.byteOffset + codes!.at, codes!.count),
    scales: new Float32Array(bytes.buffer, bytes.byteOffset + scales!.at, scales!.count),
  }
}

/** Encodes f32 values row-major; as in bitsandbytes, they are rounded to f16 first. */
export const quantize = (x: Float32Array, type: TensorType, bytes: Uint8Array): void => {
  const { rows, width } = rowsOf(type)
  const { codes, scales } = views(type, bytes)
  for (let i = 0; i < rows; i++) {
    const half = toHalves(x.subarray(i * width, (i + 1) * width))
    let most = 0
    for (let l = 0; l < width; l++) most = Math.max(most, Math.abs(half[l]!))
    const factor = factorOf(most)
    for (let l = 0; l < width; l++)
      codes[i * width + l] = nearestInteger(Math.fround(half[l]! * factor))
    scales[i] = most
  }
}

/** The f32 value of a code: two roundings, by the scale and then by 1/127, as bitsandbytes computes it. */
export const valueOf = (code: number, scale: number): number =>
  Math.fround(Math.fround(code * scale) * INVERSE)

export const dequantize = (type: TensorType, bytes: Uint8Array): Float32Array => {
  const { rows, width } = rowsOf(type)
  const { codes, scales } = views(type, bytes)
  const r = new Float32Array(rows * width)
  for (let i = 0; i < rows; i++)
    for (let l = 0; l < width; l++) r[i * width + l] = valueOf(codes[i * width + l]!, scales[i]!)
  return r
}
