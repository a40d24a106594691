/** 8-bit state in ONNX nodes: codes by eight steps of a binary search among thresholds. */
import { BLOCK, mapOf, thresholdsOf } from '../../ir/eight.ts'
import { size } from '../../ir/type.ts'
import type { Kernel } from './kernels.ts'
import type { Value } from './model.ts'
import { CAST, int, type Nodes } from './site.ts'

const blocksOf = (n: number): number => Math.ceil(n / BLOCK)

/** A tensor's elements as rows of a block each, zeros behind the last. */
const inBlocks = (n: Nodes, x: Value, count: number): Value => {
  const flat = n.reshape(x, count)
  const missing = blocksOf(count) * BLOCK - count
  const full = missing === 0 ? flat : n.concat(0, flat, n.filled([missing], 0))
  return n.reshape(full, blocksOf(count), BLOCK)
}

const outOfBlocks = (n: Nodes, x: Value, count: number, shape: ReadonlyArray<number>): Value => {
  const flat = n.reshape(x, blocksOf(count) * BLOCK)
  return n.reshape(n.slice(flat, 0, 0, count), ...shape)
}

const codeOf = (n: Nodes, thresholds: Float32Array, x: Value): Value => {
  // One more, that nothing exceeds: the search looks at index 255 too.
  const table = n.f32([BLOCK], [...thresholds, Number.MAX_VALUE])
  let k = n.mul(x, n.scalar(0))
  for (let step = BLOCK / 2; step > 0; step >>= 1) {
    const at = n.cast(n.add(k, n.scalar(step - 1)), CAST.i64)
    const beyond = n.cast(n.one('Greater', [x, n.one('Gather', [table, at])]), CAST.f32)
    k = n.add(k, n.mul(beyond, n.scalar(step)))
  }
  return k
}

export const encode8: Kernel<'encode8'> = ({ n, attrs, args, types: [type] }) => {
  const count = size(type!)
  const x = inBlocks(n, args[0]!, count)
  const scales = n.one('ReduceMax', [n.one('Abs', [x]), n.i64(1)], { keepdims: int(1) })
  const by = n.one('Where', [n.one('Equal', [scales, n.scalar(0)]), n.scalar(1), scales])
  const codes = codeOf(n, thresholdsOf(attrs.unsigned), n.div(x, by))
  return [
    n.cast(outOfBlocks(n, codes, count, type!.shape), CAST.u8),
    n.reshape(scales, blocksOf(count)),
  ]
}

export const decode8: Kernel<'decode8'> = ({ n, attrs, args: [codes, scales], types: [type] }) => {
  const count = size(type!)
  const at = n.cast(inBlocks(n, n.cast(codes!, CAST.f32), count), CAST.i64)
  const values = n.one('Gather', [n.f32([BLOCK], mapOf(attrs.unsigned)), at])
  const scaled = n.mul(values, n.reshape(scales!, blocksOf(count), 1))
  return [outOfBlocks(n, scaled, count, type!.shape)]
}
