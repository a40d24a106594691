/** 8-bit state in TensorFlow's ops: codes by eight steps of a binary search among thresholds. */
import { BLOCK, mapOf, thresholdsOf } from '../../ir/eight.ts'
import { size } from '../../ir/type.ts'
import { DT } from './tf.ts'
import type { Nodes, Value } from './nodes.ts'
import type { KernelOf } from './site.ts'

const blocksOf = (n: number): number => Math.ceil(n / BLOCK)

/** A tensor's elements as rows of a block each, zeros behind the last. */
const inBlocks = (n: Nodes, x: Value, count: number): Value => {
  const flat = n.reshape(x, count)
  const missing = blocksOf(count) * BLOCK - count
  const full = missing === 0 ? flat : n.concat(0, flat, n.fill([missing], n.scalar(0)))
  return n.reshape(full, blocksOf(count), BLOCK)
}

const outOfBlocks = (n: Nodes, x: Value, count: number, shape: ReadonlyArray<number>): Value => {
  const flat = n.reshape(x, blocksOf(count) * BLOCK)
  return n.reshape(n.slice(flat, 0, 0, count), ...shape)
}

/** The least magnitude that TensorFlow tells from zero: it takes smaller numbers for it, so zero would not be above a threshold among them. */
const LEAST = 2 ** -126
const told = (x: number): number => (Math.abs(x) < LEAST ? Math.sign(x) * LEAST : x)

const codeOf = (n: Nodes, thresholds: Float32Array, name: string, x: Value): Value => {
  // One more, that nothing exceeds: the search looks at index 255 too.
  const table = n.constant([BLOCK], [...Array.from(thresholds, told), 3e38], name)
  let k = n.mul(x, n.scalar(0))
  for (let step = BLOCK / 2; step > 0; step >>= 1) {
    const at = n.cast(n.add(k, n.scalar(step - 1)), DT.i32)
    const beyond = n.cast(n.one('Greater', [x, n.gather(table, at)]), DT.f32)
    k = n.add(k, n.mul(beyond, n.scalar(step)))
  }
  return k
}

export const encode8: KernelOf<'encode8'> = ({ n, attrs, args, types: [type] }) => {
  const count = size(type!)
  const x = inBlocks(n, args[0]!, count)
  const scales = n.max(n.one('Abs', [x]), [1], true)
  const by = n.where(n.one('Equal', [scales, n.scalar(0)]), n.scalar(1), scales)
  const { unsigned } = attrs
  const codes = codeOf(n, thresholdsOf(unsigned), `thresholds8 ${unsigned}`, n.div(x, by))
  return [
    n.cast(outOfBlocks(n, codes, count, type!.shape), DT.u8),
    n.reshape(scales, blocksOf(count)),
  ]
}

export const decode8: KernelOf<'decode8'> = ({ n, attrs, args, types: [type] }) => {
  const [codes, scales] = args as [Value, Value]
  const count = size(type!)
  const at = n.cast(inBlocks(n, n.cast(codes, DT.f32), count), DT.i32)
  const values = n.gather(n.constant([BLOCK], mapOf(attrs.unsigned), `map8 ${attrs.unsigned}`), at)
  const scaled = n.mul(values, n.reshape(scales, blocksOf(count), 1))
  return [outOfBlocks(n, scaled, count, type!.shape)]
}
