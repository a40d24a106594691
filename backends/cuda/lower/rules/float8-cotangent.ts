/** Cotangents of linear layers in 8-bit floats: those of one input quantized side by side, their weights decoded turned, one product. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor } from '../../../../ir/type.ts'
import { elementBytes } from '../../kernels/element.ts'
import { PARTS } from '../../kernels/float8.ts'
import { toFloat8Turned } from '../../kernels/nf4-float8.ts'
import { narrowReads } from '../adapters.ts'
import { scratchOf, type Context } from '../context.ts'
import { packedAt, product8, sumsBytes } from '../float8.ts'
import { maskReads } from '../pattern.ts'
import { product } from '../product.ts'
import { columnConstant, quantizedKey } from '../quantized.ts'
import type { Proposal, Rule } from '../rule.ts'
import type { Key, Places, Step } from '../step.ts'
import { addMasked, lowCotangents, rowsOfA } from './lows.ts'
import { lowColumns, sum, within } from './sizes.ts'
import { cotangents, ordered, type Base, type Terms } from './terms.ts'

const pieces = <T>(list: ReadonlyArray<T>, most: number): ReadonlyArray<ReadonlyArray<T>> =>
  list.length <= most ? [list] : [list.slice(0, most), ...pieces(list.slice(most), most)]

/** What one product takes: cotangents rounded alike whose weights fit the scratch together. */
const runsOf = (c: Context, bases: ReadonlyArray<Base>, k: number) =>
  (['e4m3', 'e5m2'] as const).flatMap((left) => {
    const alike = bases.filter((b) => b.left === left)
    const sizes = alike.map((b) => b.out * k)
    return within(sizes, scratchOf(c.target))
      .flatMap((run) => pieces(run, PARTS))
      .map((run) => {
        const list = run.map((i) => alike[i]!)
        return {
          list,
          left,
          inner: sum(list.map((b) => b.out)),
          key: quantizedKey(
            left,
            list.map((b) => b.dy),
          ),
          scales: columnConstant(list.map((b) => b.w)),
        }
      })
  })

const groupOf = (c: Context, root: Id, t: Terms): Proposal => {
  const bases = ordered(c, t.bases)
  const dtype = bases[0]!.w.to
  const each = elementBytes[dtype]
  const [rows, k] = c.type(root).shape as readonly [number, number]
  const plain = t.lows.filter((l) => l.mask === null)
  const low = lowColumns(plain.map((l) => l.rank))
  const residual = t.others[0] ?? null
  const runs = runsOf(c, bases, k)

  const frozen = (at: Places) =>
    runs.flatMap(({ list, left, inner, key, scales }, i) => {
      const factors = at.constant(scales.key)
      const turned = { offset: at.scratch(0), ld: inner }
      const start = i > 0 ? root : residual
      return [
        ...toFloat8Turned(
          list.map((b) => ({ type: b.w.state.type, offset: at.offset(b.w.id) })),
          factors,
          turned,
          dtype,
        ),
        ...product8(c.target, {
          a: packedAt(at.offset(key), rows, inner),
          left,
          b: { ...turned, scales: factors },
          d: at.rows(root),
          to: dtype,
          ...(start === null ? {} : { c: at.rows(start) }),
          m: rows,
          n: k,
          k: inner,
          sums: at.scratch(1),
        }),
      ]
    })
  /** dx += v·A, the low-rank values of all adapters side by side. */
  const adapted = (at: Places) => {
    const v = { offset: at.scratch(2), ld: low.inner }
    const below = (row: number) => ({ offset: at.scratch(3) + row * k * each, ld: k })
    const into = at.rows(root)
    return [
      ...lowCotangents(c, at, t.lows, plain, { beside: v, rows, dtype }),
      ...(plain.length === 0
        ? []
        : [
            ...rowsOfA(at, plain, k, below, dtype),
            product({
              a: { rows: v, dtype },
              b: { rows: below(0), dtype },
              d: { rows: into, dtype },
              c: into,
              m: rows,
              n: k,
              k: low.inner,
            }),
          ]),
      ...addMasked(at, t.lows, { into, rows, width: k, dtype }),
    ]
  }
  // The adapters' part reads the cotangents after the product has written the sum.
  const read = new Set<Id>(t.lows.map((l) => l.dy))
  const most = Math.max(...runs.map((r) => r.inner))
  const step: Step = {
    rule: t.lows.length > 0 ? 'cotangent8+adapters' : 'cotangent8',
    group: 'product',
    covers: [...t.sums, ...bases.flatMap((b) => b.covers), ...t.lows.flatMap((l) => l.covers)],
    reads: [
      ...new Set<Key>([
        ...runs.map((r) => r.key),
        ...bases.map((b) => b.w.id),
        ...t.lows.flatMap((l) => [l.dy, l.a, l.b, ...maskReads(l.mask)]),
        ...(residual === null ? [] : [residual]),
        ...(t.lows.length === 0 ? [] : narrowReads(c, dtype)),
      ]),
    ],
    writes: [
      { key: root as Key, type: tensor(dtype, rows, k) },
      ...t.lows.map((l) => ({ key: l.v as Key, type: tensor(dtype, rows, l.rank) })),
    ],
    over: residual === null || read.has(residual) ? [] : [[root, residual]],
    scratch: [
      most * k,
      sumsBytes(c.target, [rows, k], dtype, residual !== null || runs.length > 1),
      ...(plain.length === 0 ? [] : [rows * low.inner * each, low.inner * k * each]),
    ],
    constants: runs.map((r) => r.scales),
    works: (at) => [...frozen(at), ...(t.lows.length > 0 ? adapted(at) : [])],
  }
  return { steps: [step], joins: [] }
}

export const float8Cotangent: Rule = {
  name: 'float8 cotangent',
  doc: 'Σ float8Dot(dyᵢ, dequantize(Wᵢ)) + Σ (s·dyᵢ·Bᵢ)·Aᵢ + residual → cotangents quantized side by side, weights decoded turned, one product; adapters added by one more',
  propose: (c) => cotangents(c, true).map(({ root, terms }) => groupOf(c, root, terms)),
}
