/** Adam on moments of 8 bits: decoded, stepped and encoded in one launch, of as many tensors as lie side by side. */
import type { Adam } from '../../../../ir/algebra.ts'
import { BLOCK } from '../../../../ir/eight.ts'
import type { Id } from '../../../../ir/graph.ts'
import { adamw8 } from '../../kernels/eight.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, outOf } from '../pattern.ts'
import { steps, type Proposal, type Rule } from '../rule.ts'
import { groupBy, rangesOf } from './ranges.ts'

/** Codes and scales before and after. */
interface Moment {
  readonly from: readonly [codes: Id, scales: Id]
  readonly to: readonly [codes: Id, scales: Id]
  readonly covers: ReadonlyArray<number>
}

interface Step {
  readonly site: Site
  readonly gradient: Id
  readonly by: Id | null
  readonly m: Moment
  readonly v: Moment
  readonly covers: ReadonlyArray<number>
}

/** A moment that comes from codes and goes to codes, and that nobody else reads. */
const momentOf = (c: Context, before: Id, after: Id, unsigned: boolean): Moment | null => {
  const [decode, encode] = [c.made(before, 'decode8'), soleReader(c, after)]
  if (decode === undefined || encode?.eqn.op !== 'encode8') return null
  const from = [argOf(decode, 0), argOf(decode, 1)] as const
  const fits =
    soleReader(c, before) !== undefined &&
    [decode, encode].every((s) => attr<boolean>(s, 'unsigned') === unsigned) &&
    from.every((id) => c.state(id) !== undefined)
  return fits
    ? { from, to: [outOf(encode, 0), outOf(encode, 1)], covers: [decode.index, encode.index] }
    : null
}

const stepOf = (c: Context, site: Site): Step | null => {
  const scaled = c.made(argOf(site, 1), 'scaleBy')
  const gradient = scaled === undefined ? argOf(site, 1) : argOf(scaled, 0)
  const m = momentOf(c, argOf(site, 2), outOf(site, 1), false)
  const v = momentOf(c, argOf(site, 3), outOf(site, 2), true)
  if (m === null || v === null || c.state(gradient) === undefined) return null
  if (c.state(argOf(site, 0)) === undefined || !c.returned(outOf(site))) return null
  return {
    site,
    gradient,
    by: scaled === undefined ? null : argOf(scaled, 1),
    m,
    v,
    covers: [...m.covers, ...v.covers, ...(scaled === undefined ? [] : [scaled.index]), site.index],
  }
}

/** What a tensor's step reads and writes, in pairs where the one may lie over the other. */
const pairsOf = ({ site, m, v }: Step): ReadonlyArray<readonly [written: Id, read: Id]> => [
  [outOf(site), argOf(site, 0)],
  ...[m, v].flatMap((x) => [0, 1].map((k) => [x.to[k]!, x.from[k]!] as const)),
]

const propose = (c: Context): ReadonlyArray<Proposal> => {
  const all = c.fn.eqns.flatMap((eqn, index) => {
    const s = eqn.op === 'adamw' ? stepOf(c, { eqn, index }) : null
    return s === null ? [] : [s]
  })
  const key = (s: Step): string =>
    JSON.stringify([s.by, s.site.eqn.attrs, s.site.eqn.args.slice(4)])
  return [...groupBy(all, key).values()].map((group): Proposal => {
    const { site, by } = group[0]!
    const [lr, step] = [argOf(site, 4), argOf(site, 5)]
    const pairs = group.flatMap(pairsOf)
    const gradients = group.map((s) => s.gradient)
    const lists = [
      group.map((s) => argOf(s.site, 0)),
      gradients,
      ...[0, 1, 2, 3, 4].flatMap((k) => [0, 1].map((i) => group.map((s) => pairsOf(s)[k]![i]!))),
    ]
    return steps({
      rule: 'update in 8 bits',
      group: 'optimizer',
      covers: group.flatMap((s) => s.covers),
      reads: [...pairs.map(([, r]) => r), ...gradients, lr, step, ...(by === null ? [] : [by])],
      writes: pairs.map(([key_]) => ({ key: key_, type: c.type(key_) })),
      over: pairs,
      scratch: [],
      works: (at) =>
        // A block of 256 belongs to one tensor: only whole ones may be followed by the next.
        rangesOf(at, lists, c.type, true).map((r) => {
          const s = group[r.first]!
          const place = (id: Id) => at.offset(id)
          const coded = ([codes, scales]: readonly [Id, Id]) => ({
            codes: place(codes),
            scales: place(scales),
          })
          return adamw8({
            adam: site.eqn.attrs as unknown as Adam,
            n: r.count,
            p: place(argOf(s.site, 0)),
            g: place(s.gradient),
            m: coded(s.m.from),
            v: coded(s.v.from),
            nextP: place(outOf(s.site)),
            nextM: coded(s.m.to),
            nextV: coded(s.v.to),
            rate: place(lr),
            step: place(step),
            ...(by === null ? {} : { multiplier: place(by) }),
          })
        }),
    })
  })
}

export const update8: Rule = {
  name: 'update8',
  doc: `encode8(adamw(p, c·g, decode8 m, decode8 v)) → one kernel that keeps both moments in ${BLOCK}s of codes`,
  propose,
}
