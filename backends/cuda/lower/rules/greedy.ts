/** The likeliest id of rows whose logits are made anyway: their argmax, without a second product with the vocabulary. */
import { tensor, type Float } from '../../../../ir/type.ts'
import { argmax } from '../../kernels/loss.ts'
import type { Context, Site } from '../context.ts'
import { argOf, isDot, outOf } from '../pattern.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'

/** The product of the same operands that is an output or is read by another equation. */
const logitsOf = (c: Context, site: Site): Site | undefined =>
  c
    .readers(argOf(site, 0))
    .find(
      (s) =>
        isDot(s, false, true) &&
        [0, 1].every((i) => argOf(s, i) === argOf(site, i)) &&
        (c.returned(outOf(s)) || c.readers(outOf(s)).length > 0),
    )

const stepOf = (c: Context, site: Site, logits: Site): Step => {
  const [key, out] = [outOf(logits), outOf(site)]
  const type = c.type(key)
  const [rows, width] = type.shape as readonly [number, number]
  return {
    rule: 'greedy',
    group: 'loss',
    covers: [site.index],
    reads: [key],
    writes: [{ key: out, type: tensor('i32', rows) }],
    over: [],
    scratch: [],
    works: (at) => [
      argmax({
        logits: at.rows(key),
        dtype: type.dtype as Float,
        rows,
        width,
        out: at.offset(out),
      }),
    ],
  }
}

export const greedy: Rule = {
  name: 'greedy',
  doc: 'linearArgmax(x, W) where x·Wᵀ is made → argmax of its rows',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      const site = { eqn, index }
      const logits = eqn.op === 'linearArgmax' ? logitsOf(c, site) : undefined
      return logits === undefined ? [] : [steps(stepOf(c, site, logits))]
    }),
}
