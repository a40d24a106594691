/** The cotangent of what several linear layers read: one product of their cotangents side by side with their weights one above the other. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor } from '../../../../ir/type.ts'
import { dequantize } from '../../kernels/nf4.ts'
import { addLowRank, backRank, placeRows } from '../../kernels/lora.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import {
  argOf,
  decodedWeight,
  dropped,
  isDot,
  maskReads,
  master,
  outOf,
  scaled,
  soleSum,
  type Decoded,
  type Dropped,
} from '../pattern.ts'
import { product } from '../product.ts'
import type { Proposal, Rule } from '../rule.ts'
import type { Join, Key, Places, Step } from '../step.ts'
import { elementBytes } from '../../kernels/element.ts'
import { lowColumns, startsOf, sum } from './sizes.ts'

interface Base {
  readonly w: Decoded
  readonly dy: Id
  readonly out: number
  readonly covers: ReadonlyArray<number>
}

/** (s·dy·B)·A, perhaps behind the mask of the forward's dropout. */
interface Low {
  readonly a: Id
  readonly b: Id
  readonly dy: Id
  readonly by: number
  readonly rank: number
  /** s·dy·B, read again for A's gradient. */
  readonly v: Id
  readonly mask: Dropped['mask']
  readonly covers: ReadonlyArray<number>
}

const at = (s: { readonly site?: Site }): ReadonlyArray<number> =>
  s.site === undefined ? [] : [s.site.index]

const baseOf = (c: Context, id: Id): Base | null => {
  const site = c.made(id, 'dot')
  if (!isDot(site, false, false)) return null
  const w = decodedWeight(c, argOf(site, 1))
  return w === undefined
    ? null
    : {
        w,
        dy: argOf(site, 0),
        out: w.state.type.shape[0]!,
        covers: [site.index, w.site.index],
      }
}

const lowOf = (c: Context, id: Id): Low | null => {
  const behind = dropped(c, id)
  const up = c.made(behind.x, 'dot')
  if (!isDot(up, false, false)) return null
  const a = master(c, argOf(up, 1))
  const s = scaled(c, argOf(up, 0))
  const down = c.made(s.of, 'dot')
  if (a === undefined || !isDot(down, false, false)) return null
  const b = master(c, argOf(down, 1))
  if (b === undefined) return null
  return {
    a: a.id,
    b: b.id,
    dy: argOf(down, 0),
    by: s.by,
    rank: c.type(s.of).shape[1]!,
    v: argOf(up, 0),
    mask: behind.mask,
    covers: [up.index, down.index, ...s.sites, ...behind.sites, ...at(a), ...at(b)],
  }
}

/** The outermost sum that a value flows into alone. */
const rootOf = (c: Context, id: Id): Id => {
  const site = c.maker(id)
  const by = site === undefined ? undefined : soleSum(c, site)
  return by === undefined ? id : rootOf(c, outOf(by))
}

interface Terms {
  readonly bases: ReadonlyArray<Base>
  readonly lows: ReadonlyArray<Low>
  readonly others: ReadonlyArray<Id>
  readonly sums: ReadonlyArray<number>
}

const termsOf = (c: Context, id: Id, top: boolean): Terms => {
  const none = { bases: [], lows: [], others: [], sums: [] }
  const base = baseOf(c, id)
  if (base !== null) return { ...none, bases: [base] }
  const low = lowOf(c, id)
  if (low !== null) return { ...none, lows: [low] }
  const site = c.made(id, 'add')
  if (site === undefined || !(top || soleReader(c, id) !== undefined))
    return { ...none, others: [id] }
  const [l, r] = [termsOf(c, argOf(site, 0), false), termsOf(c, argOf(site, 1), false)]
  // A sum without products is an operand like any other.
  if (l.bases.length + l.lows.length + r.bases.length + r.lows.length === 0)
    return { ...none, others: [id] }
  return {
    bases: [...l.bases, ...r.bases],
    lows: [...l.lows, ...r.lows],
    others: [...l.others, ...r.others],
    sums: [site.index, ...l.sums, ...r.sums],
  }
}

/** Cotangents in the order they lie in, where they are results of one equation: q, k, v. */
const ordered = (bases: ReadonlyArray<Base>): ReadonlyArray<Base> =>
  [...bases].sort((a, b) => a.dy - b.dy)

const groupOf = (c: Context, root: Id, t: Terms): Proposal => {
  const bases = ordered(t.bases)
  const dtype = bases[0]!.w.to
  const each = elementBytes[dtype]
  const [rows, k] = c.type(root).shape as readonly [number, number]
  const outs = bases.map((b) => b.out)
  const [wide, starts] = [sum(outs), startsOf(outs)]
  const beside = t.lows.filter((l) => l.mask === null)
  const masked = t.lows.filter((l) => l.mask !== null)
  const low = lowColumns(beside.map((l) => l.rank))
  const ranks = startsOf(beside.map((l) => l.rank))
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

  const works = (at: Places) => {
    const first = at.rows(bases[0]!.dy)
    const adjacent = bases.every((b, i) => {
      const r = at.rows(b.dy)
      return r.offset === first.offset + starts[i]! * each && r.ld === first.ld
    })
    const together = adjacent && (beside.length === 0 || at.room(bases[0]!.dy) >= wide + low.inner)
    const weights = { offset: at.scratch(0), ld: k }
    const below = (row: number) => ({ offset: weights.offset + row * k * each, ld: k })
    const into = at.rows(root)
    const start = residual === null ? undefined : at.rows(residual)
    const vs = t.lows.map((l) => {
      const i = beside.indexOf(l)
      return backRank({
        dy: at.rows(l.dy),
        b: at.offset(l.b),
        out: at.rows(l.v),
        beside:
          together && i >= 0
            ? { offset: first.offset + (wide + ranks[i]!) * each, ld: first.ld }
            : null,
        clear: i === beside.length - 1 ? low.inner - low.used : 0,
        rows,
        width: bases.find((b) => b.dy === l.dy)?.out ?? c.type(l.dy).shape[1]!,
        rank: l.rank,
        by: l.by,
        dtype,
      })
    })
    const decodes = dequantize(
      bases.map((b, i) => ({
        offset: at.offset(b.w.id),
        type: b.w.state.type,
        out: below(starts[i]!),
      })),
      dtype,
    )
    const rowsOfA = beside.map((l, i) =>
      placeRows({
        b: at.offset(l.a),
        out: below(wide + ranks[i]!),
        rows: l.rank,
        columns: k,
        column: 0,
        rank: k,
        dtype,
      }),
    )
    const pad =
      low.inner > low.used
        ? [
            placeRows({
              b: null,
              out: below(wide + low.used),
              rows: low.inner - low.used,
              columns: k,
              column: 0,
              rank: 0,
              dtype,
            }),
          ]
        : []
    const whole = [
      ...vs,
      ...decodes,
      ...rowsOfA,
      ...pad,
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
      ...decodes,
      ...bases.map((b, i) =>
        product({
          a: { rows: at.rows(b.dy), dtype },
          b: { rows: below(starts[i]!), dtype },
          d: { rows: into, dtype },
          ...(i > 0 ? { c: into } : start === undefined ? {} : { c: start }),
          m: rows,
          n: k,
          k: b.out,
        }),
      ),
      ...beside.flatMap((l) => [
        placeRows({
          b: at.offset(l.a),
          out: below(0),
          rows: l.rank,
          columns: k,
          column: 0,
          rank: k,
          dtype,
        }),
        product({
          a: { rows: at.rows(l.v), dtype },
          b: { rows: below(0), dtype },
          d: { rows: into, dtype },
          c: into,
          m: rows,
          n: k,
          k: l.rank,
        }),
      ]),
    ]
    return [
      ...(together ? whole : apart()),
      ...masked.map((l) =>
        addLowRank({
          v: at.rows(l.v),
          a: at.offset(l.a),
          out: into,
          rows,
          width: k,
          rank: l.rank,
          dtype,
          seed: at.offset(l.mask!.seed),
          keys: at.offset(l.mask!.keys),
          rate: l.mask!.rate,
          salt: l.mask!.salt,
        }),
      ),
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
      ]),
    ],
    writes: [
      { key: root as Key, type: tensor(dtype, rows, k) },
      ...t.lows.map((l) => ({ key: l.v as Key, type: tensor(dtype, rows, l.rank) })),
    ],
    over: residual === null || bases.some((b) => b.dy === residual) ? [] : [[root, residual]],
    scratch: [(wide + low.inner) * k * each],
    optionalJoins: true,
    works,
  }
  return { steps: [step], joins }
}

export const cotangent: Rule = {
  name: 'cotangent',
  doc: 'Σ dyᵢ·dequantize(Wᵢ) + Σ (s·dyᵢ·Bᵢ)·Aᵢ + residual → one product of [dy | s·dy·B] and [W ; A]',
  propose: (c) => {
    const roots = new Set<Id>()
    for (const eqn of c.fn.eqns)
      if (eqn.op === 'dot' && baseOf(c, eqn.outs[0]!) !== null) roots.add(rootOf(c, eqn.outs[0]!))
    return [...roots].flatMap((root) => {
      const t = termsOf(c, root, true)
      // Every base is of one cotangent; sums of more than one foreign value stay sums.
      const fits =
        t.bases.length > 0 &&
        t.others.length <= 1 &&
        new Set(t.bases.map((b) => b.dy)).size === t.bases.length
      return fits ? [groupOf(c, root, t)] : []
    })
  },
}
