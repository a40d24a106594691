/** Matrix products as launches. */
import type { Float8 } from '../../../ir/number.ts'
import type { Float } from '../../../ir/type.ts'
import type { Rows } from '../kernels/card.ts'
import { operandBytes as width } from '../kernels/element.ts'
import type { Matrix, ProductLaunch } from '../launch.ts'

export interface Operand {
  readonly rows: Rows
  readonly dtype: Float | Float8
  /** Read transposed. */
  readonly t?: boolean
  /** Of 8-bit floats: where the factors of its rows lie. */
  readonly scales?: number
}

export interface Product {
  readonly a: Operand
  readonly b: Operand
  readonly d: Operand
  /** What is added, times `beta`; absent: nothing. */
  readonly c?: Rows
  readonly m: number
  readonly n: number
  readonly k: number
  readonly alpha?: number
}

const matrix = (o: Operand, rows: number, columns: number): Matrix => ({
  offset: o.rows.offset,
  ld: o.rows.ld,
  dtype: o.dtype,
  rows: o.t === true ? columns : rows,
  columns: o.t === true ? rows : columns,
  ...(o.scales === undefined ? {} : { scales: o.scales }),
})

/** D[m, n] = alpha · A[m, k] · B[k, n] + C, each operand possibly stored transposed. */
export const product = ({ a, b, c, d, m, n, k, alpha = 1 }: Product): ProductLaunch => ({
  _tag: 'product',
  a: matrix(a, m, k),
  b: matrix(b, k, n),
  c: c === undefined ? null : matrix({ rows: c, dtype: d.dtype }, m, n),
  d: matrix(d, m, n),
  ta: a.t === true,
  tb: b.t === true,
  alpha,
  beta: c === undefined ? 0 : 1,
  flops: 2 * m * n * k,
  bytes:
    m * k * width[a.dtype] +
    k * n * width[b.dtype] +
    m * n * width[d.dtype] * (c === undefined ? 1 : 2),
})
