/** The cotangent of what several linear layers read: one product of their cotangents side by side with their weights one above the other. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor } from '../../../../ir/type.ts'
import { dequantize } from '../../kernels/decode.ts'
import type { Rows } from '../../kernels/card.ts'
import { placeRows } from '../../kernels/lora.ts'
import { narrowReads } from '../adapters.ts'
import { scratchOf, type Context } from '../context.ts'
import { maskReads } from '../pattern.ts'
import { product } from '../product.ts'
import type { Proposal, Rule } from '../rule.ts'
import type { Join, Key, Places, Step } from '../step.ts'
import { elementBytes } from '../../kernels/element.ts'
import { keptBy } from './linear.ts'
import { addMasked, lowCotangents, rowOfA, rowsOfA } from './lows.ts'
import { lowColumns, startsOf, sum } from './sizes.ts'
import { cotangents, ordered, type Base, type Terms } from './terms.ts'

const groupOf = (c: Context, root: Id, t: Terms): Proposal => {
  const bases = ordered(c, t.bases)
  const dtype = bases[0]!.w.to
  const each = elementBytes[dtype]
  const [rows, k] = c.type(root).shape as readonly [number, number]
  const outs = bases.map((b) => b.out)
  const [wide, starts] = [sum(outs), startsOf(outs)]
  const beside = t.lows.filter((l) => l.mask === null)
  const low = lowColumns(beside.map((l) => l.rank))
  const residual = t.others[0] ?? null
  // Gradients of swiglu lie over gate and up, which the forward has put side by side with room beside them.
  const free = bases.every(
    (b) => c.maker(b.dy) !== undefined && c.made(b.dy, 'swigluGrad') === undefined,
  )
  const joins: ReadonlyArray<Join> =
    free && (bases.length > 1 || beside.length > 0)
      ? [
          {
            rows,
            ld: wide + low.ld,
            bytes: rows * (wide + low.ld) * each,
            members: bases.map((b, i) => ({ key: b.dy, column: starts[i]! })),
          },
        ]
      : []

  // Where little memory is left, weights are decoded and multiplied one after the other.
  const all = (wide + low.inner) * k * each
  const lean = all > scratchOf(c.target)
  const most = Math.max(...outs, ...beside.map((l) => l.rank)) * k * each
  const found = keptBy(
    c,
    bases.map((b) => b.w.state.name),
  )
  const kept = found !== null && found.below >= low.inner ? found : null
  const works = (at: Places) => {
    const first = at.rows(bases[0]!.dy)
    const adjacent = bases.every((b, i) => {
      const r = at.rows(b.dy)
      return r.offset === first.offset + starts[i]! * each && r.ld === first.ld
    })
    const together =
      adjacent &&
      (kept !== null || !lean) &&
      (beside.length === 0 || at.room(bases[0]!.dy) >= wide + low.inner)
    const weights =
      kept === null
        ? { offset: at.scratch(0), ld: k }
        : { offset: at.offset(kept.key), ld: kept.ld }
    const below = (row: number) => ({
      offset: weights.offset + row * weights.ld * each,
      ld: weights.ld,
    })
    // Decoded one after the other, each lies at the scratch's start; kept, where the forward has put it.
    const alone = (i: number) => below(kept === null ? 0 : starts[i]!)
    const into = at.rows(root)
    const start = residual === null ? undefined : at.rows(residual)
    const vs = lowCotangents(c, at, t.lows, beside, {
      beside: together ? { offset: first.offset + wide * each, ld: first.ld } : null,
      rows,
      dtype,
    })
    const decoded = (list: ReadonlyArray<Base>, out: (i: number) => Rows) =>
      dequantize(
        (kept === null ? list : []).map((b, i) => ({
          offset: at.offset(b.w.id),
          type: b.w.state.type,
          out: out(i),
        })),
        dtype,
      )
    const whole = () => [
      ...vs,
      ...decoded(bases, (i) => below(starts[i]!)),
      ...rowsOfA(at, beside, k, (row) => below(wide + row), dtype),
      product({
        a: { rows: first, dtype },
        b: { rows: weights, dtype },
        d: { rows: into, dtype },
        ...(start === undefined ? {} : { c: start }),
        m: rows,
        n: k,
        k: wide + (beside.length > 0 ? low.inner : 0),
      }),
    ]
    const apart = () => [
      ...vs,
      ...bases.flatMap((b, i) => [
        ...decoded([b], () => below(0)),
        product({
          a: { rows: at.rows(b.dy), dtype },
          b: { rows: alone(i), dtype },
          d: { rows: into, dtype },
          ...(i > 0 ? { c: into } : start === undefined ? {} : { c: start }),
          m: rows,
          n: k,
          k: b.out,
        }),
      ]),
      ...beside.flatMap((l) => [
        ...placeRows([rowOfA(at, l, k, below(kept === null ? 0 : wide))], dtype),
        product({
          a: { rows: at.rows(l.v), dtype },
          b: { rows: below(kept === null ? 0 : wide), dtype },
          d: { rows: into, dtype },
          c: into,
          m: rows,
          n: k,
          k: l.rank,
        }),
      ]),
    ]
    return [
      ...(together ? whole() : apart()),
      ...addMasked(at, t.lows, { into, rows, width: k, dtype }),
    ]
  }
  const step: Step = {
    rule: t.lows.length > 0 ? 'cotangent+adapters' : 'cotangent',
    group: 'product',
    covers: [...t.sums, ...t.bases.flatMap((b) => b.covers), ...t.lows.flatMap((l) => l.covers)],
    reads: [
      ...new Set([
        ...bases.flatMap((b) => [b.dy, b.w.id]),
        ...t.lows.flatMap((l) => [l.dy, l.a, l.b, ...maskReads(l.mask)]),
        ...(residual === null ? [] : [residual]),
        ...(kept === null ? [] : [kept.key]),
        ...(t.lows.length === 0 ? [] : narrowReads(c, dtype)),
      ]),
    ],
    writes: [
      { key: root as Key, type: tensor(dtype, rows, k) },
      ...t.lows.map((l) => ({ key: l.v as Key, type: tensor(dtype, rows, l.rank) })),
    ],
    over: residual === null || bases.some((b) => b.dy === residual) ? [] : [[root, residual]],
    scratch: [kept !== null ? 0 : lean ? most : all],
    optionalJoins: true,
    works,
  }
  return { steps: [step], joins }
}

export const cotangent: Rule = {
  name: 'cotangent',
  doc: 'Σ dyᵢ·dequantize(Wᵢ) + Σ (s·dyᵢ·Bᵢ)·Aᵢ + residual → one product of [dy | s·dy·B] and [W ; A]',
  propose: (c) => cotangents(c, false).map(({ root, terms }) => groupOf(c, root, terms)),
}
