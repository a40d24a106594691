/** Products of a handful of rows with weights of 16 bit, such as the vocabulary: bound by the weights' bytes, with the norm before and the sum behind. */
import type { Float } from '../../../../ir/type.ts'
import { FEW } from '../../kernels/few-plan.ts'
import { wide as product, widePlan, wideWorkspaceBytes } from '../../kernels/wide.ts'
import type { Context, Site } from '../context.ts'
import { addend, argOf, attr, isDot, outOf, soleSum } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'
import { forwardOnly, NORMED, normOf } from './few.ts'

const stepOf = (c: Context, site: Site): Step | null => {
  const [x, w] = [argOf(site, 0), argOf(site, 1)]
  const weights = c.state(w)
  const [rows, k] = c.type(x).shape as readonly [number, number]
  const dtype = c.type(x).dtype as Float
  const fits =
    weights !== undefined &&
    rows <= FEW &&
    (dtype === 'f16' || (dtype === 'bf16' && c.target.arch >= 80)) &&
    c.type(outOf(site)).dtype === dtype
  const plan = fits ? widePlan({ rows, k }, c.target) : null
  if (plan === null) return null
  const n = c.type(w).shape[0]!
  // A greedy choice reads the logits, not what they are made of.
  const chosen = c.readers(x).filter((s) => s.eqn.op === 'linearArgmax' && argOf(s, 1) === w)
  const readers = [site, ...chosen].map((s) => s.index)
  const norm = rows <= NORMED && plan.parts === 1 ? normOf(c, x, readers) : null
  const from = norm === null ? x : argOf(norm, 0)
  const sum = soleSum(c, site)
  const residual = sum === undefined ? undefined : addend(sum, outOf(site))
  const y = residual === undefined ? outOf(site) : outOf(sum!)
  return {
    rule: `wide${norm === null ? '' : '+norm'}${residual === undefined ? '' : '+sum'}`,
    group: 'product',
    covers: [
      site.index,
      ...(norm === null ? [] : [norm.index]),
      ...(residual === undefined ? [] : [sum!.index]),
    ],
    reads: [
      from,
      w,
      ...(norm === null ? [] : [argOf(norm, 1)]),
      ...(residual === undefined ? [] : [residual]),
    ],
    writes: [{ key: y, type: c.type(y) }],
    over: residual === undefined || residual === from ? [] : [[y, residual]],
    scratch: [wideWorkspaceBytes({ rows, k }, plan, n)],
    works: (at) =>
      product({
        rows,
        k,
        plan,
        room: c.target,
        dtype,
        n,
        weights: at.rows(w),
        x: at.rows(from),
        norm:
          norm === null ? null : { w: at.offset(argOf(norm, 1)), eps: attr<number>(norm, 'eps') },
        residual: residual === undefined ? null : at.rows(residual),
        out: at.rows(y),
        workspace: at.scratch(0),
      }),
  }
}

export const wide: Rule = {
  name: 'wide',
  doc: '(rmsNorm →) x·Wᵀ (+ residual), few rows, forward alone → one product that reads each weight once',
  propose: (c) =>
    forwardOnly(c)
      ? c.fn.eqns.flatMap((eqn, index) => {
          const site = { eqn, index }
          const step = isDot(site, false, true) ? stepOf(c, site) : null
          return step === null ? [] : [steps(step)]
        })
      : [],
}
