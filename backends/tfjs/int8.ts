/** Products of 8-bit integers: x rounded to codes × scales, but for columns with outliers, times W decoded. */
import { LARGEST } from '../../ir/int8.ts'
import type { Nodes, Value } from './nodes.ts'
import { decodedRows } from './quant.ts'
import type { KernelOf } from './site.ts'
import { DT } from './tf.ts'

const through = (n: Nodes, x: Value, dtype: number): Value => n.cast(n.cast(x, dtype), DT.f32)
const most = (n: Nodes, x: Value, axis: number): Value => n.max(n.one('Abs', [x]), [axis], true)

/** Rounded with a scale a row, as the f32 that comes back. */
const rounded = (n: Nodes, x: Value): Value => {
  const scale = most(n, x, 1)
  const factor = n.mul(n.div(n.scalar(1), scale), n.scalar(LARGEST))
  const finite = n.where(n.one('Equal', [scale, n.scalar(0)]), n.scalar(0), factor)
  return n.mul(n.one('Rint', [n.mul(x, finite)]), n.div(scale, n.scalar(LARGEST)))
}

export const int8Dot: KernelOf<'int8Dot'> = ({
  n,
  attrs: { threshold },
  args: [x],
  parts: [, w],
  types: [, type],
  outs: [out],
}) => {
  const half = through(n, x!, DT.f16)
  const decoded = decodedRows(n, w!, type!)
  if (threshold === 0) return [n.dot(rounded(n, half), decoded, { tb: true })]
  const limit = n.scalar(threshold)
  const apart = n.one('GreaterEqual', [n.one('Abs', [half]), limit])
  const columns = n.one('GreaterEqual', [most(n, half, 0), limit])
  const inliers = rounded(n, n.where(apart, n.scalar(0), half))
  const dtype = out!.dtype
  const narrow = dtype === 'f32' ? decoded : through(n, decoded, dtype === 'f16' ? DT.f16 : DT.bf16)
  return [n.dot(n.where(columns, x!, inliers), n.where(columns, narrow, decoded), { tb: true })]
}
