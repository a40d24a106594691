/** The loss and its gradient by the hidden rows: a chunk of logits is made once, serves both, and is gone. */
import type { Id } from '../../../../ir/graph.ts'
import { tensor, type Float } from '../../../../ir/type.ts'
import { crossEntropy } from '../../kernels/loss.ts'
import type { Work } from '../../launch.ts'
import type { Context, Site } from '../context.ts'
import { argOf, outOf } from '../pattern.ts'
import { product } from '../product.ts'
import { steps, type Rule } from '../rule.ts'
import type { Step } from '../step.ts'
import { elementBytes } from '../../kernels/element.ts'

/** Logits at once: at most this many bytes, and at least 128 rows. */
const CHUNK = 2 ** 26

export const chunkRows = (rows: number, vocab: number, dtype: Float): number =>
  Math.min(rows, Math.max(128, Math.floor(CHUNK / (vocab * elementBytes[dtype]) / 128) * 128))

/** Row ranges of chunks. */
export const chunks = (
  rows: number,
  each: number,
): ReadonlyArray<{ readonly from: number; readonly rows: number }> =>
  Array.from({ length: Math.ceil(rows / each) }, (_, i) => ({
    from: i * each,
    rows: Math.min(each, rows - i * each),
  }))

/** nll and lse, and with `grad` the gradient by x for the cotangent `ct` of nll. */
export const lossStep = (
  c: Context,
  loss: Site,
  grad: { readonly site: Site; readonly ct: Id } | null,
): Step => {
  const [x, w, targets] = loss.eqn.args as unknown as readonly [Id, Id, Id]
  const dtype = c.type(x).dtype as Float
  const [rows, width] = c.type(x).shape as readonly [number, number]
  const vocab = c.type(w).shape[0]!
  // Where no gradient is made, the logits stay wide.
  const made = grad === null ? 'f32' : dtype
  const each = chunkRows(rows, vocab, made)
  const [nll, lse] = [outOf(loss, 0), outOf(loss, 1)]
  const dx = grad === null ? null : outOf(grad.site)
  const row = elementBytes[dtype]
  return {
    rule: grad === null ? 'loss' : 'loss+gradient',
    group: 'loss',
    covers: [loss.index, ...(grad === null ? [] : [grad.site.index])],
    reads: [x, w, targets, ...(grad === null ? [] : [grad.ct])],
    writes: [
      { key: nll, type: tensor('f32', rows) },
      { key: lse, type: tensor('f32', rows) },
      ...(dx === null ? [] : [{ key: dx, type: c.type(x) }]),
    ],
    over: [],
    scratch: [each * vocab * elementBytes[made]],
    works: (at) => {
      const [hidden, table] = [at.rows(x), at.rows(w)]
      const logits = { offset: at.scratch(0), ld: vocab }
      return chunks(rows, each).flatMap(({ from, rows: n }): ReadonlyArray<Work> => {
        const rowsFrom = (r: { readonly offset: number; readonly ld: number }) => ({
          offset: r.offset + from * r.ld * row,
          ld: r.ld,
        })
        return [
          product({
            a: { rows: rowsFrom(hidden), dtype },
            b: { rows: table, dtype, t: true },
            d: { rows: logits, dtype: made },
            m: n,
            n: vocab,
            k: width,
          }),
          crossEntropy({
            logits,
            targets: at.offset(targets) + 4 * from,
            ...(grad === null
              ? {}
              : {
                  grad: {
                    ct: { offset: at.offset(grad.ct) + 4 * from, each: true },
                    out: logits,
                    dtype,
                  },
                }),
            nll: at.offset(nll) + 4 * from,
            lse: at.offset(lse) + 4 * from,
            rows: n,
            width: vocab,
            dtype: made,
          }),
          ...(dx === null
            ? []
            : [
                product({
                  a: { rows: logits, dtype },
                  b: { rows: table, dtype },
                  d: { rows: rowsFrom(at.rows(dx)), dtype },
                  m: n,
                  n: width,
                  k: vocab,
                }),
              ]),
        ]
      })
    },
  }
}

/** Whether a value is made of another. */
const follows = (c: Context, id: Id, from: Id): boolean => {
  const seen = new Set<Id>()
  const waiting = [id]
  for (let at = waiting.pop(); at !== undefined; at = waiting.pop()) {
    if (at === from) return true
    if (seen.has(at)) continue
    seen.add(at)
    waiting.push(...(c.maker(at)?.eqn.args ?? []))
  }
  return false
}

export const loss: Rule = {
  name: 'loss',
  doc: 'linearCrossEntropy, linearCrossEntropyGrad → per chunk: logits, loss and gradient in place, product with W',
  propose: (c) =>
    c.fn.eqns.flatMap((eqn, index) => {
      if (eqn.op !== 'linearCrossEntropyGrad') return []
      const made = c.made(eqn.args[3]!, 'linearCrossEntropy')
      const same = made !== undefined && [0, 1, 2].every((i) => argOf(made, i) === eqn.args[i])
      // A cotangent that waits for all losses: preferences weigh a token by what its whole sequence came to.
      const waits = made !== undefined && follows(c, eqn.args[4]!, outOf(made, 0))
      return same && !waits
        ? [steps(lossStep(c, made, { site: { eqn, index }, ct: eqn.args[4]! }))]
        : []
    }),
}
