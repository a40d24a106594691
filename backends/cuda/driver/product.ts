/** A matrix product at its addresses. */
import * as E from 'fp-ts/lib/Either.js'
import type { Float } from '../../../ir/type.ts'
import type { Matrix, ProductLaunch } from '../launch.ts'
import { type Cuda, cudaError, done, OWN } from './error.ts'

/** CUDA_R_* of library_types.h. */
export const TYPE = { f32: 0, f16: 2, bf16: 14, e4m3: 28, e5m2: 29 } as const satisfies Record<
  Float | 'e4m3' | 'e5m2',
  number
>
export type Element = keyof typeof TYPE

/** Factor of an FP8 operand: one number, or one for each row of A and each column of B (each row of Bᵀ). */
export interface Scale {
  readonly address: bigint
  readonly per: 'tensor' | 'row'
}

/** A row-major matrix at an address. */
export interface Operand {
  readonly address: bigint
  readonly dtype: Element
  readonly rows: number
  readonly columns: number
  readonly ld: number
  readonly scale?: Scale
}

export interface Product {
  readonly a: Operand
  readonly b: Operand
  readonly c: Operand | null
  readonly d: Operand
  readonly ta: boolean
  readonly tb: boolean
  readonly alpha: number
  readonly beta: number
  /** Streaming multiprocessors to count on; all of them where absent. */
  readonly multiprocessors?: number
}

/** A launch's product with its arena at `base`. */
export const productAt = (l: ProductLaunch, base: bigint): Product => {
  const at = ({ offset, scales, ...m }: Matrix): Operand => ({
    address: base + BigInt(offset),
    ...m,
    ...(scales === undefined ? {} : { scale: { address: base + BigInt(scales), per: 'row' } }),
  })
  const { ta, tb, alpha, beta } = l
  return {
    a: at(l.a),
    b: at(l.b),
    c: l.c === null ? null : at(l.c),
    d: at(l.d),
    ta,
    tb,
    alpha,
    beta,
  }
}

const SIZE = { f32: 4, f16: 2, bf16: 2, e4m3: 1, e5m2: 1 } as const
export const isFp8 = (e: Element): boolean => SIZE[e] === 1

/** Largest power of two up to 256 that divides an address: kernels with wide loads need 16. */
export const alignOf = ({ address }: Operand): number =>
  address % 256n === 0n ? 256 : Number(address & -address)

/** Rows and columns of op(M). */
const turned = (m: Operand, t: boolean): readonly [number, number] =>
  t ? [m.columns, m.rows] : [m.rows, m.columns]

export const flopsOf = (p: Product): number => {
  const [m, k] = turned(p.a, p.ta)
  return 2 * m * k * p.d.columns
}

/** All that decides which algorithm is best. */
export const keyOf = (p: Product): string => {
  const one = (m: Operand, t: boolean): string =>
    `${m.dtype}[${m.rows},${m.columns}]/${m.ld}${t ? 'T' : ''}@${alignOf(m)}${m.scale === undefined ? '' : `*${m.scale.per}`}`
  const c =
    p.beta === 0 || p.c === null ? '' : p.c.address === p.d.address ? '+D' : `+${one(p.c, false)}`
  const few = p.multiprocessors === undefined ? '' : ` on ${p.multiprocessors}`
  return `${one(p.a, p.ta)}·${one(p.b, p.tb)}${c}→${one(p.d, false)}${few}`
}

/** Shapes that agree, rows that do not overlap, and a C where it counts. */
export const checked = (p: Product): Cuda<void> => {
  const [m, k] = turned(p.a, p.ta)
  const [kb, n] = turned(p.b, p.tb)
  const operands = [p.a, p.b, p.d, ...(p.c === null ? [] : [p.c])]
  const c = p.c ?? p.d
  const fits =
    k === kb &&
    [p.d, c].every((x) => x.rows === m && x.columns === n) &&
    operands.every((x) => x.ld >= x.columns && x.rows > 0 && x.columns > 0) &&
    (p.c !== null || p.beta === 0)
  return fits
    ? done
    : E.left(
        cudaError(
          'cublasLtMatmul',
          OWN,
          'PRODUCT_SHAPES',
          `no product: ${keyOf(p)}${p.c === null && p.beta !== 0 ? ` with beta ${p.beta} and no C` : ''}`,
        ),
      )
}
