/** Keys of quantization that belong to another number of bits. */
import type { Idle } from './idle-training.ts'

export const idleQuantization: ReadonlyArray<Idle> = [
  [
    'quantization.llm_int8_threshold',
    ({ quantization: q }) => q !== null && q.bits !== 8,
    'bits is 4, and 4-bit weights are decoded before they are multiplied',
  ],
  ...['bnb_4bit_quant_type', 'bnb_4bit_use_double_quant'].map((key): Idle => [
    `quantization.${key}`,
    ({ quantization: q }) => q?.bits === 8,
    'bits is 8',
  ]),
]
