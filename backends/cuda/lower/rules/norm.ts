/** The gradient through a norm and the residual stream's own, in one pass over the row. */
import type { Float } from '../../../../ir/type.ts'
import { rmsNormGrad } from '../../kernels/norm.ts'
import { addend, attr, outOf, soleSum } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'

export const norm: Rule = {
  name: 'norm',
  doc: 'add(d, rmsNormGrad(x, w, ct)) → one kernel that starts from d',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      const site = { eqn, index }
      const sum = eqn.op === 'rmsNormGrad' ? soleSum(c, site) : undefined
      const plus = sum === undefined ? undefined : addend(sum, outOf(site))
      if (sum === undefined || plus === undefined) return []
      const [x, w, ct] = eqn.args as unknown as readonly [number, number, number]
      const [rows, width] = eqn.types[0]!.shape as readonly [number, number]
      return [
        steps({
          rule: 'norm+residual',
          group: 'norm',
          covers: [index, sum.index],
          reads: [x, w, ct, plus],
          writes: [{ key: outOf(sum), type: eqn.types[0]! }],
          over: plus === x || plus === ct ? [] : [[outOf(sum), plus]],
          scratch: [],
          works: (at) => [
            rmsNormGrad({
              x: at.rows(x),
              w: at.offset(w),
              ct: at.rows(ct),
              residual: at.rows(plus),
              out: at.rows(outOf(sum)),
              rows,
              width,
              eps: attr(site, 'eps'),
              dtype: eqn.types[0]!.dtype as Float,
            }),
          ],
        }),
      ]
    }),
}
