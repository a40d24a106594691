/** Encoded weights decoded. NF4: two values a byte looked up at once, times the scale of their block; int8: codes times the scale of their row. */
import { dynamicMap } from '../../ir/dynamic-map.ts'
import { INVERSE } from '../../ir/int8.ts'
import { codebook } from '../../ir/nf4.ts'
import { blocks, isFourBit, rowsOf, size, type FourBit, type TensorType } from '../../ir/type.ts'
import { DT } from './tf.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf, Parts } from './site.ts'

const ALL_CODES = 256
const pairs = Float32Array.from(
  { length: 2 * ALL_CODES },
  (_, i) => codebook[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]!,
)

/** The f32 scale of every block. */
const scales = (n: Nodes, p: Parts, nested: number, count: number): Value => {
  if (nested === 0) return p.scales!
  const first = n.gather(
    n.constant([ALL_CODES], dynamicMap, 'dynamic map'),
    n.cast(p.scales!, DT.i32),
  )
  const group = n.one('FloorDiv', [n.range(count), n.words([], [nested])])
  return n.add(n.mul(first, n.gather(p.nested!, group)), p.offset!)
}

export const decoded = (
  n: Nodes,
  p: Parts,
  dtype: FourBit,
  shape: ReadonlyArray<number>,
): Value => {
  const { block, nested } = blocks(dtype)
  const count = shape.reduce((a, b) => a * b, 1)
  const whole = Math.ceil(count / block)
  const lookup = n.constant([ALL_CODES, 2], pairs, 'pairs of codes')
  const flat = n.reshape(n.gather(lookup, n.cast(p.codes!, DT.i32)), 2 * Math.ceil(count / 2))
  // A last block that is not full is padded to be scaled, then cut.
  const gap = whole * block - 2 * Math.ceil(count / 2)
  const padded = gap > 0 ? n.concat(0, flat, n.fill([gap], n.scalar(0))) : flat
  const even = gap < 0 ? n.slice(padded, 0, 0, whole * block) : padded
  const scaled = n.reshape(
    n.mul(n.reshape(even, whole, block), n.reshape(scales(n, p, nested, whole), whole, 1)),
    whole * block,
  )
  return n.reshape(whole * block === count ? scaled : n.slice(scaled, 0, 0, count), ...shape)
}

/** The values of `int8`, a matrix. */
export const decodedRows = (n: Nodes, p: Parts, type: TensorType): Value => {
  const { rows, width } = rowsOf(type)
  const codes = n.cast(n.reshape(p.codes!, rows, width), DT.f32)
  return n.mul(n.mul(codes, n.reshape(p.scales!, rows, 1)), n.scalar(INVERSE))
}

export const dequantize: KernelOf<'dequantize'> = ({ n, parts, types: [w], outs: [out] }) => [
  size(out!) === 0
    ? n.fill(out!.shape, n.scalar(0))
    : isFourBit(w!.dtype)
      ? decoded(n, parts[0]!, w!.dtype, w!.shape)
      : n.reshape(decodedRows(n, parts[0]!, w!), ...w!.shape),
]
