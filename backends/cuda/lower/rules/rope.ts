/** Rotations of queries and keys in one launch, where they lie. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float } from '../../../../ir/type.ts'
import { rope as turn } from '../../kernels/rope.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, outOf } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'

/** Rotations, by the attention that reads them. */
const ropeStep = (c: Context, sites: ReadonlyArray<Site>): Step => {
  const [, cos, sin] = sites[0]!.eqn.args as unknown as readonly [Id, Id, Id]
  const half = c.type(cos).shape[1]!
  return {
    rule: 'rope',
    group: 'rope',
    covers: sites.map((s) => s.index),
    reads: [...sites.map((s) => argOf(s, 0)), cos, sin],
    writes: sites.map((s) => ({ key: outOf(s), type: s.eqn.types[0]! })),
    over: sites.map((s) => [outOf(s), argOf(s, 0)] as const),
    scratch: [],
    works: (at) => {
      const turned = sites.map((s) => ({
        x: at.rows(argOf(s, 0)),
        out: at.rows(outOf(s)),
        heads: s.eqn.types[0]!.shape[1]! / (2 * half),
      }))
      return [
        turn({
          ...turned[0]!,
          ...(turned[1] === undefined ? {} : { also: turned[1] }),
          cos: at.offset(cos),
          sin: at.offset(sin),
          rows: c.type(cos).shape[0]!,
          dim: 2 * half,
          inverse: attr(sites[0]!, 'inverse'),
          dtype: sites[0]!.eqn.types[0]!.dtype as Float,
        }),
      ]
    },
  }
}

export const plainRope = (c: Context, site: Site): Step => ropeStep(c, [site])

export const rope: Rule = {
  name: 'rope',
  doc: 'rope(q), rope(k) of one attention → one step, in place',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn) => {
      if (eqn.op !== 'attention' && eqn.op !== 'cachedAttention') return []
      const [q, k] = [c.made(eqn.args[0]!, 'rope'), c.made(eqn.args[1]!, 'rope')]
      const fits =
        q !== undefined &&
        k !== undefined &&
        argOf(q, 0) !== argOf(k, 0) &&
        argOf(q, 1) === argOf(k, 1) &&
        attr(q, 'inverse') === attr(k, 'inverse') &&
        soleReader(c, argOf(q, 0)) !== undefined
      return fits ? [steps(ropeStep(c, [q, k]))] : []
    }),
}
