/** Cards of 8-bit integers with a scale a row. */
import { parts, rowsOf, type Float, type TensorType } from '../../../ir/type.ts'
import {
  at,
  divide,
  elementBytes,
  kernel,
  launch,
  macros,
  matrix,
  u32,
  type KernelLaunch,
  type Place,
} from './card.ts'
import type { Decode } from './nf4.ts'

export const scalesAt = (type: TensorType, offset: Place): Place => offset + parts(type)[1]!.at

/** A block of threads takes a stretch of a row. */
export const dequantize = ({ type, offset, out }: Decode, to: Float): KernelLaunch => {
  const { rows, width } = rowsOf(type)
  return launch(
    kernel('int8.cu', 'int8_decode', macros('f32', to)),
    [rows, divide(width, 2048)],
    256,
    [at(offset), at(scalesAt(type, offset)), ...matrix(out), u32(width)],
    rows * (width * (1 + elementBytes[to]) + 4),
    2 * rows * width,
  )
}
