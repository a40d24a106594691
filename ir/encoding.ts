/** Values to codes and back, whatever the encoding. */
import * as int8 from './int8.ts'
import * as nf4 from './nf4.ts'
import { bytes as byteSize, type TensorType } from './type.ts'

const isInt8 = (t: TensorType): boolean => t.dtype === 'int8'

/** Encodes f32 values row-major; `bytes` has the layout of `parts(type)`. */
export const quantize = (x: Float32Array, type: TensorType, bytes: Uint8Array): void =>
  (isInt8(type) ? int8 : nf4).quantize(x, type, bytes)

/** Decodes to f32 values. */
export const dequantize = (type: TensorType, bytes: Uint8Array): Float32Array =>
  (isInt8(type) ? int8 : nf4).dequantize(type, bytes)

/** The f32 scale of every block or row. */
export const scalesOf = (type: TensorType, bytes: Uint8Array): Float32Array =>
  isInt8(type) ? int8.views(type, bytes).scales : nf4.scalesOf(type, bytes)

/** The values after one trip through the encoding. */
export const roundTrip = (type: TensorType, x: Float32Array): Float32Array => {
  const bytes = new Uint8Array(byteSize(type))
  quantize(x, type, bytes)
  return dequantize(type, bytes)
}
