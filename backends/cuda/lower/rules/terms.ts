/** What a cotangent is the sum of: products with frozen weights, adapters' low-rank terms, and the rest. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float8 } from '../../../../ir/number.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import {
  argOf,
  attr,
  decodedWeight,
  dropped,
  isDot,
  master,
  outOf,
  scaled,
  soleSum,
  type Decoded,
  type Dropped,
} from '../pattern.ts'

export interface Base {
  readonly w: Decoded
  readonly dy: Id
  readonly out: number
  /** What dy is rounded to where the product is of 8-bit floats, else null. */
  readonly left: Float8 | null
  readonly covers: ReadonlyArray<number>
}

/** (s·dy·B)·A, perhaps behind the mask of the forward's dropout. */
export interface Low {
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

export const baseOf = (c: Context, id: Id): Base | null => {
  const eight = c.made(id, 'float8Dot')
  const site = eight ?? c.made(id, 'dot')
  if (site === undefined || !(eight === undefined ? isDot(site, false, false) : !attr(eight, 'tb')))
    return null
  const w = decodedWeight(c, argOf(site, 1))
  return w === undefined
    ? null
    : {
        w,
        dy: argOf(site, 0),
        out: w.state.type.shape[0]!,
        left: eight === undefined ? null : attr<Float8>(eight, 'left'),
        covers: [site.index, w.site.index],
      }
}

export const lowOf = (c: Context, id: Id): Low | null => {
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
export const rootOf = (c: Context, id: Id): Id => {
  const site = c.maker(id)
  const by = site === undefined ? undefined : soleSum(c, site)
  return by === undefined ? id : rootOf(c, outOf(by))
}

export interface Terms {
  readonly bases: ReadonlyArray<Base>
  readonly lows: ReadonlyArray<Low>
  readonly others: ReadonlyArray<Id>
  readonly sums: ReadonlyArray<number>
}

export const termsOf = (c: Context, id: Id, top: boolean): Terms => {
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

/** Sums with a product by a frozen weight, those of 8-bit floats or the others: one cotangent for each weight, and at most one foreign value. */
export const cotangents = (
  c: Context,
  eight: boolean,
): ReadonlyArray<{ readonly root: Id; readonly terms: Terms }> => {
  const roots = new Set<Id>()
  for (const eqn of c.fn.eqns)
    if (eqn.op === (eight ? 'float8Dot' : 'dot') && baseOf(c, eqn.outs[0]!) !== null)
      roots.add(rootOf(c, eqn.outs[0]!))
  return [...roots].flatMap((root) => {
    const terms = termsOf(c, root, true)
    const { bases, others } = terms
    const fits =
      bases.length > 0 &&
      others.length <= 1 &&
      bases.every((b) => (b.left !== null) === eight) &&
      new Set(bases.map((b) => b.dy)).size === bases.length
    return fits ? [{ root, terms }] : []
  })
}

/** In the order of the weights in the program, which is the forward's: q, k, v. */
export const ordered = (c: Context, bases: ReadonlyArray<Base>): ReadonlyArray<Base> => {
  const order = new Map(c.program.state.map((s, i) => [s.name, i]))
  return [...bases].sort((a, b) => order.get(a.w.state.name)! - order.get(b.w.state.name)!)
}
