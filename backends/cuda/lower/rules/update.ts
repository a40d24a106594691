/** The parameter update as flat ranges: parameters, gradients and moments lie in the same order, so one launch serves every adapter. */
import type { Id } from '../../../../ir/graph.ts'
import type { Adam } from '../../../../ir/algebra.ts'
import { size } from '../../../../ir/type.ts'
import { adamw } from '../../kernels/optim.ts'
import { reduceWorkspaceBytes, sumSquares } from '../../kernels/reduce.ts'
import type { Context, Site } from '../context.ts'
import { argOf, outOf } from '../pattern.ts'
import { steps, type Proposal, type Rule } from '../rule.ts'
import { groupBy, rangesOf } from './ranges.ts'

const flatPart = (n: number) => ({ rows: 1, width: n })

/** sumSquares of many tensors, added up from left to right. */
const norms = (c: Context): ReadonlyArray<Proposal> =>
  c.fn.eqns.flatMap((eqn, index) => {
    const top = { eqn, index }
    const inner = c.readers(outOf(top)).some((r) => r.eqn.op === 'add')
    if (eqn.op !== 'add' || inner) return []
    const leaves: Site[] = []
    const sums: number[] = []
    const walk = (id: Id): boolean => {
      const s = c.maker(id)
      if (s?.eqn.op === 'sumSquares' && c.state(argOf(s, 0))?.type.dtype === 'f32')
        return leaves.push(s) > 0
      if (s?.eqn.op !== 'add') return false
      sums.push(s.index)
      return walk(argOf(s, 0)) && walk(argOf(s, 1))
    }
    if (!walk(outOf(top)) || leaves.length < 2) return []
    const ids = leaves.map((l) => argOf(l, 0))
    return [
      steps({
        rule: 'norm of all gradients',
        group: 'optimizer',
        covers: [...sums, ...leaves.map((l) => l.index)],
        reads: ids,
        writes: [{ key: outOf(top), type: eqn.types[0]! }],
        over: [],
        // Ranges are no more than the tensors and no more blocks.
        scratch: [reduceWorkspaceBytes(ids.map((id) => flatPart(size(c.type(id)))))],
        works: (at) =>
          sumSquares({
            parts: rangesOf(at, [ids], c.type).map((r) => ({
              ...flatPart(r.count),
              a: { offset: at.offset(ids[r.first]!), ld: r.count },
              dtype: 'f32',
            })),
            workspace: at.scratch(0),
            out: at.offset(outOf(top)),
          }),
      }),
    ]
  })

interface Step {
  readonly site: Site
  readonly gradient: Id
  readonly by: Id | null
  readonly covers: ReadonlyArray<number>
}

/** adamw whose gradient is the buffer itself, or that times one scalar. */
const stepOf = (c: Context, site: Site): Step | null => {
  const g = argOf(site, 1)
  if (c.state(g) !== undefined) return { site, gradient: g, by: null, covers: [site.index] }
  const scaled = c.made(g, 'scaleBy')
  return scaled !== undefined && c.state(argOf(scaled, 0)) !== undefined
    ? {
        site,
        gradient: argOf(scaled, 0),
        by: argOf(scaled, 1),
        covers: [scaled.index, site.index],
      }
    : null
}

const updates = (c: Context): ReadonlyArray<Proposal> => {
  const all = c.fn.eqns.flatMap((eqn, index) => {
    const s = eqn.op === 'adamw' ? stepOf(c, { eqn, index }) : null
    const fits = s !== null && [0, 2, 3].every((i) => c.state(eqn.args[i]!) !== undefined)
    return fits ? [s] : []
  })
  const key = (s: Step): string =>
    JSON.stringify([s.by, s.site.eqn.attrs, s.site.eqn.args.slice(4)])
  const groups = groupBy(all, key)
  return [...groups.values()].map((group): Proposal => {
    const { site, by } = group[0]!
    const [lr, step] = [argOf(site, 4), argOf(site, 5)]
    const lists = [
      group.map((s) => argOf(s.site, 0)),
      group.map((s) => s.gradient),
      group.map((s) => argOf(s.site, 2)),
      group.map((s) => argOf(s.site, 3)),
    ] as const
    const outs = group.flatMap((s) => s.site.eqn.outs)
    return steps({
      rule: 'update of all adapters',
      group: 'optimizer',
      covers: group.flatMap((s) => s.covers),
      reads: [...lists.flat(), lr, step, ...(by === null ? [] : [by])],
      writes: outs.map((key) => ({ key, type: c.type(key) })),
      over: group.flatMap((s) =>
        s.site.eqn.outs.map((o, k) => [o, argOf(s.site, [0, 2, 3][k]!)] as const),
      ),
      scratch: [],
      works: (at) => {
        const results = [0, 1, 2].map((k) => group.map((s) => s.site.eqn.outs[k]!))
        return rangesOf(at, [...lists, ...results], c.type).map((r) => {
          const first = (list: ReadonlyArray<Id>) => at.offset(list[r.first]!)
          return adamw({
            adam: site.eqn.attrs as unknown as Adam,
            n: r.count,
            p: first(lists[0]),
            g: first(lists[1]),
            m: first(lists[2]),
            v: first(lists[3]),
            nextP: first(results[0]!),
            nextM: first(results[1]!),
            nextV: first(results[2]!),
            rate: at.offset(lr),
            step: at.offset(step),
            ...(by === null ? {} : { multiplier: at.offset(by) }),
          })
        })
      },
    })
  })
}

/** Buffers that start again from zero, neighbours at once. */
const clears = (c: Context): ReadonlyArray<Proposal> => {
  const taken = new Set(c.fn.updates.map((u) => u.id))
  const fills = c.fn.eqns.flatMap((eqn, index) => {
    const site = { eqn, index }
    const zeros = eqn.op === 'fill' && eqn.attrs['value'] === 0 && eqn.attrs['dtype'] === 'f32'
    return zeros && taken.has(outOf(site)) ? [site] : []
  })
  const ids = fills.map((s) => outOf(s))
  return ids.length < 2
    ? []
    : [
        steps({
          rule: 'clear gradients',
          group: 'optimizer',
          covers: fills.map((s) => s.index),
          reads: [],
          writes: ids.map((key) => ({ key, type: c.type(key) })),
          over: [],
          scratch: [],
          works: (at) =>
            rangesOf(at, [ids], c.type).map((r) => ({
              _tag: 'clear',
              offset: at.offset(ids[r.first]!),
              length: 4 * r.count,
              bytes: 4 * r.count,
              flops: 0,
            })),
        }),
      ]
}

export const update: Rule = {
  name: 'update',
  doc: 'Σ sumSquares(gᵢ), adamw(pᵢ, c·gᵢ, mᵢ, vᵢ), fill 0 → one sum, one step and one clearing over all adapters as flat ranges',
  propose: (c) => [...norms(c), ...updates(c), ...clears(c)],
}
