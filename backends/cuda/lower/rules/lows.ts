/** Low-rank parts that rules for 16-bit and for 8-bit products have alike: values, and rows of A or B as a product's operand. */
import type { Float } from '../../../../ir/type.ts'
import type { Rows } from '../../kernels/card.ts'
import { elementBytes } from '../../kernels/element.ts'
import { dropout } from '../../kernels/elementwise.ts'
import { addLowRank, placeRows } from '../../kernels/lora.ts'
import type { Work } from '../../launch.ts'
import { lowProducts, type Low as Job } from '../adapters.ts'
import type { Context } from '../context.ts'
import type { Places } from '../step.ts'
import type { Adapter, Member } from './layers.ts'
import { lowColumns, startsOf } from './sizes.ts'
import type { Low } from './terms.ts'

type Ranked = ReadonlyArray<{ readonly rank: number }>

interface Sized {
  readonly rows: number
  readonly dtype: Float
}

const columnsFrom = (r: Rows, column: number, dtype: Float): Rows => ({
  offset: r.offset + column * elementBytes[dtype],
  ld: r.ld,
})

/** Columns that the i-th of these leaves to clear: what fills up the last ones. */
const clearing = (all: Ranked, i: number): number => {
  const { inner, used } = lowColumns(all.map((l) => l.rank))
  return i === all.length - 1 ? inner - used : 0
}

/** s·drop(x)·Aᵀ of adapters, side by side from `beside` on, where a product reads them; x is [rows, k]. */
export const lowValues = (
  c: Context,
  at: Places,
  adapters: ReadonlyArray<Adapter>,
  o: Sized & {
    readonly x: Rows
    readonly k: number
    readonly beside: Rows
    /** The number of the scratch for x behind a mask. */
    readonly behind: number
  },
): ReadonlyArray<Work> => {
  const { x, k, beside, rows, dtype } = o
  const ranks = startsOf(adapters.map((a) => a.rank))
  const job = (a: Adapter, i: number, of: Rows): Job => ({
    x: of,
    inner: k,
    master: at.offset(a.a),
    out: at.rows(a.low),
    beside: columnsFrom(beside, ranks[i]!, dtype),
    clear: clearing(adapters, i),
    rank: a.rank,
    by: a.by,
  })
  const products = (jobs: ReadonlyArray<Job>) => lowProducts(c, at, jobs, true, rows, dtype)
  return [
    ...products(adapters.flatMap((a, i) => (a.input.mask === null ? [job(a, i, x)] : []))),
    // One scratch serves every mask, so these go one by one.
    ...adapters.flatMap((a, i) => {
      const { mask } = a.input
      if (mask === null) return []
      const out = { offset: at.scratch(o.behind), ld: k }
      return [
        dropout({
          a: x,
          out,
          rows,
          width: k,
          dtype,
          seed: at.offset(mask.seed),
          keys: at.offset(mask.keys),
          rate: mask.rate,
          salt: mask.salt,
        }),
        ...products([job(a, i, out)]),
      ]
    }),
  ]
}

/** B of each member, [out, rank], at the columns of its adapter's values, zeros at those of the others. */
export const rowsOfB = (
  at: Places,
  members: ReadonlyArray<Member & { readonly to: Rows }>,
  adapters: ReadonlyArray<Adapter>,
  dtype: Float,
): ReadonlyArray<Work> => {
  const ranks = startsOf(adapters.map((a) => a.rank))
  const { inner } = lowColumns(adapters.map((a) => a.rank))
  return placeRows(
    members.map(({ adapter, to, out }) => ({
      b: adapter === null ? null : at.offset(adapter.b),
      width: adapter === null ? 0 : adapter.rank,
      out: to,
      rows: out,
      columns: inner,
      column: adapter === null ? 0 : ranks[adapters.indexOf(adapter)]!,
    })),
    dtype,
  )
}

/** s·dy·B of every term, those of `plain` side by side from `beside` on, where a product reads them. */
export const lowCotangents = (
  c: Context,
  at: Places,
  lows: ReadonlyArray<Low>,
  plain: ReadonlyArray<Low>,
  { beside, rows, dtype }: Sized & { readonly beside: Rows | null },
): ReadonlyArray<Work> => {
  const ranks = startsOf(plain.map((l) => l.rank))
  const jobs = lows.map((l): Job => {
    const i = plain.indexOf(l)
    return {
      x: at.rows(l.dy),
      inner: c.type(l.dy).shape[1]!,
      master: at.offset(l.b),
      out: at.rows(l.v),
      beside: i < 0 || beside === null ? null : columnsFrom(beside, ranks[i]!, dtype),
      clear: clearing(plain, i),
      rank: l.rank,
      by: l.by,
    }
  })
  return lowProducts(c, at, jobs, false, rows, dtype)
}

/** One A, [rank, k], as rows of an operand. */
export const rowOfA = (at: Places, l: Low, k: number, out: Rows) => ({
  b: at.offset(l.a),
  width: k,
  out,
  rows: l.rank,
  columns: k,
  column: 0,
})

/** Every A, one below the other, and zeros to the last row of the operand. */
export const rowsOfA = (
  at: Places,
  plain: ReadonlyArray<Low>,
  k: number,
  below: (row: number) => Rows,
  dtype: Float,
): ReadonlyArray<Work> => {
  const ranks = startsOf(plain.map((l) => l.rank))
  const { inner, used } = lowColumns(plain.map((l) => l.rank))
  const zeros = { b: null, width: 0, out: below(used), rows: inner - used, columns: k, column: 0 }
  return placeRows(
    [
      ...plain.map((l, i) => rowOfA(at, l, k, below(ranks[i]!))),
      ...(inner === used ? [] : [zeros]),
    ],
    dtype,
  )
}

/** into += mask ∘ (v·A) of each term behind the forward's dropout; into is [rows, width]. */
export const addMasked = (
  at: Places,
  lows: ReadonlyArray<Low>,
  o: Sized & { readonly into: Rows; readonly width: number },
): ReadonlyArray<Work> =>
  lows.flatMap(({ mask, v, a, rank }) =>
    mask === null
      ? []
      : [
          addLowRank({
            v: at.rows(v),
            a: at.offset(a),
            out: o.into,
            rows: o.rows,
            width: o.width,
            rank,
            dtype: o.dtype,
            seed: at.offset(mask.seed),
            keys: at.offset(mask.keys),
            rate: mask.rate,
            salt: mask.salt,
          }),
        ],
  )
