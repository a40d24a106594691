/** A product of 8-bit integers: both operands' codes as numbers of x's dtype, which holds them all, through the library's product. */
import { size, type Float } from '../../../ir/type.ts'
import { aligned } from '../../../passes/memory.ts'
import { elementBytes } from '../kernels/element.ts'
import * as int8 from '../kernels/int8.ts'
import { alone, type Lowering } from './alone.ts'
import { argOf, attr } from './pattern.ts'
import { product } from './product.ts'

export const plainInt8: Lowering = (c, s) => {
  const [type, dtype] = [c.type(argOf(s, 1)), s.eqn.types[0]!.dtype as Float]
  const [m, k] = c.type(argOf(s, 0)).shape as readonly [number, number]
  const n = type.shape[0]!
  const threshold = attr<number>(s, 'threshold')
  const each = elementBytes[dtype]
  return alone(
    c,
    s,
    (h) => {
      const [flags, codes, wide, sums] = [0, 1, 2, 3].map(h.scratch) as [
        number,
        number,
        number,
        number,
      ]
      const x = { x: h.arg(0), rows: m, width: k, dtype }
      const outliers =
        threshold === 0 ? null : { flags, list: flags + aligned(int8.flagBytes(k)), threshold }
      const scales = codes + aligned(m * k * each)
      return [
        ...(outliers === null ? [] : int8.findOutliers(x, outliers)),
        int8.quantizeRows(x, outliers, { codes, scales }),
        int8.widen(type, h.argAt(1), wide, dtype),
        product({
          a: { rows: { offset: codes, ld: k }, dtype },
          b: { rows: { offset: wide, ld: k }, dtype, t: true },
          d: { rows: { offset: sums, ld: n }, dtype: 'f32' },
          m,
          n,
          k,
        }),
        int8.finish({
          sums,
          scales,
          weight: { type, offset: h.argAt(1) },
          outliers,
          x,
          d: h.out(),
        }),
      ]
    },
    [
      threshold === 0 ? 0 : aligned(int8.flagBytes(k)) + int8.listBytes(k),
      aligned(m * k * each) + 4 * m,
      size(type) * each,
      4 * m * n,
    ],
  )
}
