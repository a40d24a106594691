/** Products of 8-bit floats as works, and operands quantized for them. */
import type { Float8 } from '../../../ir/number.ts'
import type { Float } from '../../../ir/type.ts'
import { aligned } from '../../../passes/memory.ts'
import { elementBytes, type Place, type Rows } from '../kernels/card.ts'
import { add } from '../kernels/elementwise.ts'
import { quantizeColumns, quantizeRows, scaleSums } from '../kernels/float8.ts'
import type { Work } from '../launch.ts'
import { alone, type Lowering } from './alone.ts'
import type { Float8Products, Target } from './context.ts'
import { argOf, attr } from './pattern.ts'
import { product } from './product.ts'

/** Quantized rows and, behind them, their scales. */
export const packedBytes = (rows: number, width: number): number => aligned(rows * width) + 4 * rows

/** A matrix of 8-bit floats with the scales of its rows. */
export interface Packed extends Rows {
  readonly scales: Place
}
export const packedAt = (offset: Place, rows: number, width: number): Packed => ({
  offset,
  ld: width,
  scales: offset + aligned(rows * width),
})

/** Hopper's library products take a factor for each row of both operands. */
const productsOf = (t: Target): Float8Products => t.float8 ?? (t.arch === 90 ? 'whole' : 'sums')

/** Scratch of a product [m, n]; `added`: something is added to it. */
export const sumsBytes = (
  t: Target,
  [m, n]: readonly [number, number],
  to: Float,
  added: boolean,
): number => {
  const way = productsOf(t)
  return way === 'sums' ? 4 * m * n : way === 'factors' && added ? elementBytes[to] * m * n : 0
}

export interface Product8 {
  readonly a: Packed
  /** What `a` is in. */
  readonly left: Float8
  /** [n, k], read transposed. */
  readonly b: Packed
  readonly d: Rows
  readonly to: Float
  /** Added to the product; may lie under d. */
  readonly c?: Rows
  readonly m: number
  readonly n: number
  readonly k: number
  /** Where `sumsBytes` lie. */
  readonly sums: Place
}

export const product8 = (t: Target, o: Product8): ReadonlyArray<Work> => {
  const { m, n, k, to } = o
  const way = productsOf(t)
  const scales = (p: Packed) => (way === 'sums' ? {} : { scales: p.scales })
  const a = { rows: o.a, dtype: o.left, ...scales(o.a) }
  const b = { rows: o.b, dtype: 'e4m3', t: true, ...scales(o.b) } as const
  const d = { rows: o.d, dtype: to }
  const sums = { offset: o.sums, ld: n }
  if (way === 'whole' || (way === 'factors' && o.c === undefined))
    return [product({ a, b, d, ...(o.c === undefined ? {} : { c: o.c }), m, n, k })]
  if (way === 'factors')
    return [
      product({ a, b, d: { rows: sums, dtype: to }, m, n, k }),
      add({ a: sums, b: o.c!, out: o.d, rows: m, width: n, dtype: to }),
    ]
  return [
    product({ a, b, d: { rows: sums, dtype: 'f32' }, m, n, k }),
    scaleSums({
      sums,
      a: o.a.scales,
      b: o.b.scales,
      c: o.c ?? null,
      d: o.d,
      rows: m,
      width: n,
      to,
    }),
  ]
}

/** One equation alone: both operands quantized where they are read. */
export const plainFloat8: Lowering = (c, s) => {
  const [x, w] = [c.type(argOf(s, 0)), c.type(argOf(s, 1))]
  const [m, k] = x.shape as readonly [number, number]
  const tb = attr<boolean>(s, 'tb')
  const n = w.shape[tb ? 0 : 1]!
  const format = attr<Float8>(s, 'left')
  return alone(
    c,
    s,
    (h) => {
      const [a, b] = [packedAt(h.scratch(0), m, k), packedAt(h.scratch(1), n, k)]
      const rows = { dtype: h.dtype, format: 'e4m3' } as const
      return [
        quantizeRows({
          parts: [{ x: h.arg(0), width: k }],
          out: a,
          scales: a.scales,
          rows: m,
          dtype: h.dtype,
          format,
        }),
        tb
          ? quantizeRows({
              parts: [{ x: h.arg(1), width: k }],
              out: b,
              scales: b.scales,
              rows: n,
              ...rows,
            })
          : quantizeColumns({
              x: h.arg(1),
              out: b,
              scales: b.scales,
              rows: k,
              width: n,
              dtype: h.dtype,
            }),
        ...product8(c.target, {
          a,
          left: format,
          b,
          d: h.out(),
          to: h.dtype,
          m,
          n,
          k,
          sums: h.scratch(2),
        }),
      ]
    },
    [
      packedBytes(m, k),
      packedBytes(n, k),
      sumsBytes(c.target, [m, n], c.type(s.eqn.outs[0]!).dtype as Float, false),
    ],
  )
}
