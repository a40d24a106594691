/** Sums with a product, and scales of it, ride in the product: D = alpha·A·B + C. */
import type { Id } from '../../../../ir/graph.ts'
import type { Float } from '../../../../ir/type.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { addend, argOf, attr, outOf } from '../pattern.ts'
import { product } from '../product.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'

interface Chain {
  readonly dot: Site
  readonly alpha: number
  readonly plus: Id | null
  readonly out: Id
  readonly covers: ReadonlyArray<number>
}

const chainOf = (c: Context, dot: Site): Chain => {
  let chain: Chain = { dot, alpha: 1, plus: null, out: outOf(dot), covers: [dot.index] }
  for (;;) {
    const by = soleReader(c, chain.out)
    if (by === undefined || by.eqn.place.stage !== dot.eqn.place.stage || chain.plus !== null)
      return chain
    const other = addend(by, chain.out)
    if (by.eqn.op === 'scale') chain = { ...chain, alpha: chain.alpha * attr<number>(by, 'by') }
    else if (other !== undefined) chain = { ...chain, plus: other }
    else return chain
    chain = { ...chain, out: outOf(by), covers: [...chain.covers, by.index] }
  }
}

export const dotStep = (c: Context, { dot, alpha, plus, out, covers }: Chain): Step => {
  const [a, b] = [argOf(dot, 0), argOf(dot, 1)]
  const [ta, tb] = [attr<boolean>(dot, 'ta'), attr<boolean>(dot, 'tb')]
  const dtype = c.type(a).dtype as Float
  const [m, n] = c.type(out).shape as readonly [number, number]
  return {
    rule: covers.length > 1 ? 'product+sum' : 'dot',
    group: 'product',
    covers,
    reads: [a, b, ...(plus === null ? [] : [plus])],
    writes: [{ key: out, type: c.type(out) }],
    over: plus === null || plus === a || plus === b ? [] : [[out, plus]],
    scratch: [],
    works: (at) => [
      product({
        a: { rows: at.rows(a), dtype, t: ta },
        b: { rows: at.rows(b), dtype, t: tb },
        d: { rows: at.rows(out), dtype },
        ...(plus === null ? {} : { c: at.rows(plus) }),
        m,
        n,
        k: c.type(a).shape[ta ? 0 : 1]!,
        alpha,
      }),
    ],
  }
}

/** A product alone. */
export const plainDot = (c: Context, dot: Site): Step =>
  dotStep(c, { dot, alpha: 1, plus: null, out: outOf(dot), covers: [dot.index] })

export const residual: Rule = {
  name: 'residual',
  doc: 'add(c, scale(a·b)) → one product that starts from c',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      if (eqn.op !== 'dot') return []
      const chain = chainOf(c, { eqn, index })
      return chain.covers.length > 1 ? [steps(dotStep(c, chain))] : []
    }),
}
