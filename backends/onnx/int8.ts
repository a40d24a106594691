/** Products of 8-bit integers: x rounded to codes × scales, but for columns with outliers, times W decoded. */
import type { Int8Dot } from '../../ir/ops/int8.ts'
import { LARGEST } from '../../ir/int8.ts'
import type { Value } from './model.ts'
import { decodedRows } from './quant.ts'
import { CAST, int, type Nodes, type Site } from './site.ts'

const zero = (n: Nodes): Value => n.scalar(0)
const where = (n: Nodes, c: Value, x: Value, y: Value): Value => n.one('Where', [c, x, y])
const through = (n: Nodes, x: Value, dtype: number): Value => n.cast(n.cast(x, dtype), CAST.f32)
const most = (n: Nodes, x: Value, axis: number): Value =>
  n.one('ReduceMax', [n.one('Abs', [x]), n.i64(axis)], { keepdims: int(1) })

/** Rounded with a scale a row, as the f32 that comes back. */
const rounded = (n: Nodes, x: Value): Value => {
  const scale = most(n, x, 1)
  const factor = n.mul(n.div(n.scalar(1), scale), n.scalar(LARGEST))
  const codes = n.one('Round', [
    n.mul(x, where(n, n.one('Equal', [scale, zero(n)]), zero(n), factor)),
  ])
  return n.mul(codes, n.div(scale, n.scalar(LARGEST)))
}

export const int8Dot = ({
  n,
  attrs: { threshold },
  args: [x, w],
  types: [, type],
  outs: [out],
}: Site<Int8Dot>): ReadonlyArray<Value> => {
  const half = through(n, x!, CAST.f16)
  const decoded = decodedRows(n, w!, type!)
  if (threshold === 0) return [n.gemm(rounded(n, half), decoded, { tb: true })]
  const limit = n.scalar(threshold)
  const apart = n.one('GreaterOrEqual', [n.one('Abs', [half]), limit])
  const columns = n.one('GreaterOrEqual', [most(n, half, 0), limit])
  const inliers = rounded(n, where(n, apart, zero(n), half))
  const dtype = out!.dtype
  const narrow =
    dtype === 'f32' ? decoded : through(n, decoded, dtype === 'f16' ? CAST.f16 : CAST.bf16)
  return [n.gemm(where(n, columns, x!, inliers), where(n, columns, narrow, decoded), { tb: true })]
}
