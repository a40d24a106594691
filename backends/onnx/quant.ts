/** Encoded weights inside a model: decoded whole, or 4-bit ones by the product that uses them. */
import { dynamicMap } from '../../ir/dynamic-map.ts'
import { INVERSE } from '../../ir/int8.ts'
import { codebook } from '../../ir/nf4.ts'
import { blocks, isFourBit, rowsOf, size, type FourBit, type TensorType } from '../../ir/type.ts'
import type { Value } from './model.ts'
import { CAST, int, microsoft, type Nodes, type Site } from './site.ts'

/** The parts of an encoded tensor are fed apart. */
export const partName = (state: string, part: string): string => `${state}#${part}`

const ALL_CODES = 256
/** Both values of a byte of codes, so that one lookup decodes two. */
const pairs = Float32Array.from(
  { length: 2 * ALL_CODES },
  (_, i) => codebook[i % 2 === 0 ? i >> 5 : (i >> 1) & 15]!,
)

const scales = ({ n, args, types }: Site<object>, blocksInAll: number): Value => {
  const { nested } = blocks(types[0]!.dtype as FourBit)
  const part = (name: string) => partName(args[0]!, name)
  if (nested === 0) return part('scales')
  const groups = Math.ceil(blocksInAll / nested)
  const first = n.one('Gather', [n.f32([ALL_CODES], dynamicMap), n.cast(part('scales'), CAST.i32)])
  const wide = n.reshape(
    n.one('Expand', [n.reshape(part('nested'), groups, 1), n.i64(groups, nested)]),
    groups * nested,
  )
  const second = groups * nested === blocksInAll ? wide : n.slice(wide, 0, 0, blocksInAll)
  return n.add(n.mul(first, second), part('offset'))
}

/** Codes × scales of their rows / 127; `state` has been fed in its parts. */
export const decodedRows = (n: Nodes, state: Value, type: TensorType): Value => {
  const { rows, width } = rowsOf(type)
  const codes = n.cast(n.reshape(partName(state, 'codes'), rows, width), CAST.f32)
  const scaled = n.mul(codes, n.reshape(partName(state, 'scales'), rows, 1))
  return n.mul(scaled, n.scalar(INVERSE))
}

/** Codes looked up in pairs, times the scale of their block. */
const decodedBlocks = (s: Site<object>): Value => {
  const { n } = s
  const { block } = blocks(s.types[0]!.dtype as FourBit)
  const count = size(s.types[0]!)
  const whole = Math.ceil(count / block)
  const codes = n.cast(partName(s.args[0]!, 'codes'), CAST.i32)
  const flat = n.one('Gather', [n.f32([ALL_CODES, 2], pairs), codes])
  const bytes = Math.ceil(count / 2)
  // A last block that is not full is padded to be scaled, then cut.
  const padded =
    2 * bytes === whole * block
      ? flat
      : n.concat(0, n.reshape(flat, 2 * bytes), n.filled([whole * block - 2 * bytes], 0))
  const scaled = n.reshape(
    n.mul(n.reshape(padded, whole, block), n.reshape(scales(s, whole), whole, 1)),
    whole * block,
  )
  const exact = whole * block === count ? scaled : n.slice(scaled, 0, 0, count)
  return n.reshape(exact, ...s.types[0]!.shape)
}

export const dequantize = (s: Site<object>): ReadonlyArray<Value> => {
  const type = s.types[0]!
  return isFourBit(type.dtype)
    ? [decodedBlocks(s)]
    : [s.n.reshape(decodedRows(s.n, s.args[0]!, type), ...type.shape)]
}

/** onnxruntime's number for NF4 among its 4-bit codes. */
const NF4 = 1

/** x·Wᵀ with W [out, in] decoded inside the product; `weight` is W's decoding. */
export const decodedProduct = (n: Nodes, x: Value, weight: Site<object>): Value => {
  const type = weight.types[0]!
  const { block } = blocks(type.dtype as FourBit)
  return n.one(
    'MatMulBnb4',
    [x, partName(weight.args[0]!, 'codes'), scales(weight, size(type) / block)],
    {
      K: int(type.shape[1]!),
      N: int(type.shape[0]!),
      block_size: int(block),
      quant_type: int(NF4),
    },
    microsoft,
  )
}
