/** A weight in NF4 (Dettmers et al. 2023): 4-bit codes with a scale per block, held as tf.Tensors. */
import { cellOf, contents, dispose, fill, type Cell } from '../../backends/tfjs/cells.ts'
import type { Host } from '../../backends/tfjs/load.ts'
import type { Tensor } from '../../backends/tfjs/tf.ts'
import { misfit } from '../../backends/bytes.ts'
import { quantize } from '../../ir/nf4.ts'
import { bytes, tensor, type FourBit, type TensorType } from '../../ir/type.ts'

export interface Nf4Options {
  /** Values that share a scale. */
  readonly block?: number
  /** Scales that share a scale of their own, and are 8-bit themselves; null: they are f32. */
  readonly nested?: number | null
}

export interface Nf4 {
  readonly shape: ReadonlyArray<number>
  /** Bytes of codes and scales. */
  readonly byteSize: number
  /** Codes and scales as they lie: two codes a byte, the first in the high half, then the scales. */
  readonly bytes: () => Uint8Array
  /** Gives the memory back. tf.tidy does not: a weight outlives the step that uses it. */
  readonly dispose: () => void
  /** For the functions beside. */
  readonly cell: Cell
}

const typeOf = (shape: ReadonlyArray<number>, o: Nf4Options): TensorType => {
  const { block = 64, nested = 256 } = o
  const dtype: FourBit = nested === null ? `nf4/${block}` : `nf4/${block}/${nested}`
  return tensor(dtype, ...shape)
}

const made = (host: Host, type: TensorType, stored: Uint8Array): Nf4 => {
  const cell = cellOf(host, {
    name: 'weight',
    type,
    role: 'frozen',
    recipe: { _tag: 'nf4', of: { _tag: 'fill', value: 0 } },
  })
  fill(host, cell, stored)
  return {
    shape: type.shape,
    byteSize: bytes(type),
    bytes: () => contents(host, cell),
    dispose: () => dispose(cell),
    cell,
  }
}

/** Rounds a matrix [out, in] to NF4. */
export const quantized = (host: Host, x: Tensor, o: Nf4Options = {}): Nf4 => {
  if (x.dtype !== 'float32')
    throw new TypeError(`NF4 is made of float32 tensors, got one of ${x.dtype}`)
  const type = typeOf(x.shape, o)
  const stored = new Uint8Array(bytes(type))
  quantize(x.dataSync() as Float32Array, type, stored)
  return made(host, type, stored)
}

/** A weight of bytes that `bytes` gave. */
export const restored = (
  host: Host,
  shape: ReadonlyArray<number>,
  stored: Uint8Array,
  o: Nf4Options = {},
): Nf4 => {
  const type = typeOf(shape, o)
  const why = misfit(type, stored)
  if (why !== null) throw new TypeError(`NF4 of [${shape.join(', ')}]: ${why}`)
  return made(host, type, stored)
}
