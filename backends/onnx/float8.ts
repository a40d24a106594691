/** Products of 8-bit floats: operands rounded by onnxruntime's own casts, each line with a power of two as its scale. */
import { largest8, type Float8 } from '../../ir/number.ts'
import type { Float8Dot } from '../../ir/ops/float8.ts'
import type { Value } from './model.ts'
import { CAST, int, type Nodes, type Site } from './site.ts'

/** The least power of two from 2^-126 on that keeps `most` divided by it within the format: first by logarithms, then made exact by comparing. */
const scaleOf = (n: Nodes, f: Float8, most: Value): Value => {
  const [two, half, largest] = [n.scalar(2), n.scalar(0.5), n.scalar(largest8(f))]
  const where = (c: Value, x: Value, y: Value): Value => n.one('Where', [c, x, y])
  const log2 = n.mul(n.one('Log', [n.div(most, largest)]), n.scalar(Math.LOG2E))
  const bounded = n.one('Max', [n.one('Ceil', [log2]), n.scalar(-126)])
  const near = n.one('Pow', [two, bounded])
  const small = n.one('Less', [n.mul(near, largest), most])
  const raised = where(small, n.mul(near, two), near)
  const spare = n.one('And', [
    n.one('GreaterOrEqual', [n.mul(n.mul(raised, half), largest), most]),
    n.one('Greater', [raised, n.scalar(2 ** -126)]),
  ])
  const exact = where(spare, n.mul(raised, half), raised)
  // x − x is 0 for a finite number and NaN otherwise.
  const finite = n.add(exact, n.sub(most, most))
  return where(n.one('Equal', [most, n.scalar(0)]), n.scalar(1), finite)
}

/** Rounded with a scale a line along the axis, as the f32 that comes back. */
const rounded = (n: Nodes, f: Float8, x: Value, axis: number): Value => {
  const most = n.one('ReduceMax', [n.one('Abs', [x]), n.i64(axis)], { keepdims: int(1) })
  const scale = scaleOf(n, f, most)
  return n.mul(n.cast(n.cast(n.div(x, scale), CAST[f]), CAST.f32), scale)
}

export const float8Dot = ({ n, attrs, args }: Site<Float8Dot>): ReadonlyArray<Value> => [
  n.gemm(rounded(n, attrs.left, args[0]!, 1), rounded(n, 'e4m3', args[1]!, attrs.tb ? 1 : 0), {
    ta: false,
    tb: attrs.tb,
  }),
]
