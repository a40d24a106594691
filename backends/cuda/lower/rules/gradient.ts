/** Gradients added into their f32 buffers by the product that makes them; what is cheap to make again for it is not kept. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor, type Float } from '../../../../ir/type.ts'
import { dropout } from '../../kernels/elementwise.ts'
import { rmsNorm } from '../../kernels/norm.ts'
import { soleReader, type Context, type Site } from '../context.ts'
import { argOf, attr, dropped, isDot, maskReads, outOf, type Dropped } from '../pattern.ts'
import { product } from '../product.ts'
import { steps, type Rule } from '../rule.ts'
import type { Rows } from '../../kernels/card.ts'
import type { Key, Step } from '../step.ts'
import { elementBytes } from '../../kernels/element.ts'

/** A right operand: as it is, or made again from less. */
interface Source {
  readonly id: Id
  readonly mask: Dropped['mask']
  readonly norm: Site | null
  readonly covers: ReadonlyArray<number>
}

const sourceOf = (c: Context, id: Id, stage: string): Source => {
  const behind = dropped(c, id)
  const norm = c.made(behind.x, 'rmsNorm')
  // In the stage of the product itself it is at hand already.
  const again = norm !== undefined && norm.eqn.place.stage === 'forward' && stage !== 'forward'
  return {
    id: behind.x,
    mask: behind.mask,
    norm: again ? norm : null,
    covers: [...behind.sites],
  }
}

const stepOf = (c: Context, sum: Site, grad: Id, dot: Site, widened: Site | null): Step => {
  const [a, b] = [argOf(dot, 0), argOf(dot, 1)]
  const dtype = c.type(a).dtype as Float
  const each = elementBytes[dtype]
  const [tokens, m] = c.type(a).shape as readonly [number, number]
  const n = c.type(b).shape[1]!
  const from = sourceOf(c, b, dot.eqn.place.stage)
  const remade = (from.norm === null ? 0 : 1) + (from.mask === null ? 0 : 1)
  return {
    rule: 'gradient',
    group: 'lora',
    covers: [sum.index, dot.index, ...(widened === null ? [] : [widened.index]), ...from.covers],
    reads: [
      a,
      ...(from.norm === null ? [from.id] : [argOf(from.norm, 0), argOf(from.norm, 1)]),
      ...maskReads(from.mask),
      grad,
    ],
    writes: [{ key: outOf(sum) as Key, type: tensor('f32', m, n) }],
    over: [[outOf(sum), grad]],
    scratch: remade === 0 ? [] : [tokens * n * each],
    works: (at) => {
      const plain = remade === 0 ? undefined : { offset: at.scratch(0), ld: n }
      const norm = from.norm
      const x: Rows = norm === null ? at.rows(from.id) : plain!
      return [
        ...(norm === null
          ? []
          : [
              rmsNorm({
                x: at.rows(argOf(norm, 0)),
                w: at.offset(argOf(norm, 1)),
                out: plain!,
                rows: tokens,
                width: n,
                eps: attr(norm, 'eps'),
                dtype,
              }),
            ]),
        ...(from.mask === null
          ? []
          : [
              dropout({
                a: x,
                out: plain!,
                rows: tokens,
                width: n,
                dtype,
                seed: at.offset(from.mask.seed),
                keys: at.offset(from.mask.keys),
                rate: from.mask.rate,
                salt: from.mask.salt,
              }),
            ]),
        product({
          a: { rows: at.rows(a), dtype, t: true },
          b: { rows: plain ?? x, dtype },
          d: { rows: at.rows(outOf(sum)), dtype: 'f32' },
          c: at.rows(grad),
          m,
          n,
          k: tokens,
        }),
      ]
    },
  }
}

export const gradient: Rule = {
  name: 'gradient',
  doc: 'buffer + cast(aᵀ·b) → one product with an f32 result, added in place; dropout and norms of b made again',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      const sum = { eqn, index }
      const grad = eqn.args[0]
      if (eqn.op !== 'add' || grad === undefined || c.state(grad)?.role !== 'gradient') return []
      const wide = c.made(argOf(sum, 1), 'cast')
      const dot = c.made(wide === undefined ? argOf(sum, 1) : argOf(wide, 0), 'dot')
      return isDot(dot, true, false) && soleReader(c, argOf(sum, 1)) !== undefined
        ? [steps(stepOf(c, sum, grad, dot, wide ?? null))]
        : []
    }),
}
