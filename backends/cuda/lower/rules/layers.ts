/** What a linear layer of a program consists of: products with frozen weights that read one input, their adapters and the sum behind. */
import type { Id } from '../../../../ir/graph.ts'
import type { Context, Site } from '../context.ts'
import {
  addend,
  argOf,
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

export interface Adapter {
  readonly a: Id
  readonly b: Id
  readonly rank: number
  /** alpha / r. */
  readonly by: number
  /** s·drop(x)·Aᵀ, read again for B's gradient. */
  readonly low: Id
  readonly input: Dropped
  readonly covers: ReadonlyArray<number>
}

export interface Member {
  readonly w: Decoded
  readonly out: number
  readonly y: Id
  readonly adapter: Adapter | null
  readonly residual: Id | null
  readonly covers: ReadonlyArray<number>
}

const indexOf = (s: { readonly site?: Site }): ReadonlyArray<number> =>
  s.site === undefined ? [] : [s.site.index]

/** x·Aᵀ·Bᵀ scaled, beside x·Wᵀ. */
const adapterOf = (c: Context, x: Id, low: Id | undefined): Adapter | null => {
  const up = low === undefined ? undefined : c.made(low, 'dot')
  if (!isDot(up, false, true)) return null
  const b = master(c, argOf(up, 1))
  const s = scaled(c, argOf(up, 0))
  const down = c.made(s.of, 'dot')
  if (b === undefined || !isDot(down, false, true)) return null
  const a = master(c, argOf(down, 1))
  const input = dropped(c, argOf(down, 0))
  if (a === undefined || input.x !== x) return null
  return {
    a: a.id,
    b: b.id,
    rank: c.type(s.of).shape[1]!,
    by: s.by,
    low: argOf(up, 0),
    input,
    covers: [up.index, down.index, ...s.sites, ...input.sites, ...indexOf(a), ...indexOf(b)],
  }
}

/** x·Wᵀ as it is, not in 8-bit floats. */
export const isLinear = (s: Site): boolean => isDot(s, false, true)

/** A layer around a product that `isLinear`, or is one of 8-bit floats. */
export const memberOf = (c: Context, site: Site, alone: boolean): Member | null => {
  const w = decodedWeight(c, argOf(site, 1))
  if (w === undefined) return null
  let [y, top] = [outOf(site), site]
  let covers = [site.index, w.site.index]
  const grow = (sum: Site): void => {
    ;[y, top] = [outOf(sum), sum]
    covers = [...covers, sum.index]
  }
  const sum = soleSum(c, top)
  const adapter = sum === undefined ? null : adapterOf(c, argOf(site, 0), addend(sum, y))
  if (adapter !== null) grow(sum!)
  const next = alone ? soleSum(c, top) : undefined
  const residual = next === undefined ? undefined : addend(next, y)
  if (next !== undefined && residual !== undefined) grow(next)
  return {
    w,
    out: w.state.type.shape[0]!,
    y,
    adapter,
    residual: residual ?? null,
    covers: [...covers, ...(adapter?.covers ?? [])],
  }
}

/** Layers of one input, stage and place. */
export const groups = (
  c: Context,
  takes: (s: Site) => boolean = isLinear,
): ReadonlyArray<readonly [Id, ReadonlyArray<Site>]> => {
  const found = new Map<string, [Id, Site[]]>()
  c.fn.eqns.forEach((eqn, index) => {
    const site = { eqn, index }
    if (!takes(site) || decodedWeight(c, eqn.args[1]!) === undefined) return
    const key = `${eqn.args[0]} ${eqn.place.scope} ${eqn.place.stage}`
    const known = found.get(key)
    if (known === undefined) found.set(key, [eqn.args[0]!, [site]])
    else known[1].push(site)
  })
  return [...found.values()]
}

/** Results side by side are not what a caller is given: layers that return theirs stand alone. */
export const together = (
  c: Context,
  members: ReadonlyArray<Member>,
): ReadonlyArray<ReadonlyArray<Member>> => {
  const own = members.filter((m) => c.returned(m.y))
  const rest = members.filter((m) => !own.includes(m))
  return [...(rest.length === 0 ? [] : [rest]), ...own.map((m) => [m])]
}
