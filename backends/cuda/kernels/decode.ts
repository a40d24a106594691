/** Encoded matrices decoded, whatever their encoding. */
import { isFourBit, type Float } from '../../../ir/type.ts'
import type { KernelLaunch } from './card.ts'
import * as int8 from './int8.ts'
import * as nf4 from './nf4.ts'

export const dequantize = (
  jobs: ReadonlyArray<nf4.Decode>,
  to: Float,
): ReadonlyArray<KernelLaunch> => [
  ...nf4.dequantize(
    jobs.filter((j) => isFourBit(j.type.dtype)),
    to,
  ),
  ...jobs.filter((j) => j.type.dtype === 'int8').map((j) => int8.dequantize(j, to)),
]
