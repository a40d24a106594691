/** What works on rows of logits, a chunk at a time: full logits never exist. */
import type { Float } from '../../../ir/type.ts'
import type { Rows } from '../kernels/card.ts'
import { elementBytes } from '../kernels/element.ts'
import * as loss from '../kernels/loss.ts'
import type { Work } from '../launch.ts'
import { alone, type Here, type Lowering } from './alone.ts'
import { argOf } from './pattern.ts'
import { product } from './product.ts'
import { chunkRows, chunks } from './rules/loss.ts'

/** Rows of logits of a hidden matrix, a chunk at a time. */
export const overLogits =
  (body: (h: Here, chunk: Chunk) => ReadonlyArray<Work>): Lowering =>
  (c, s) => {
    const [x, w] = [c.type(argOf(s, 0)), c.type(argOf(s, 1))]
    const [rows, width] = x.shape as readonly [number, number]
    const dtype = x.dtype as Float
    const vocab = w.shape[0]!
    const each = chunkRows(rows, vocab, dtype)
    return alone(
      c,
      s,
      (h) => {
        const logits = { offset: h.scratch(0), ld: vocab }
        const of = (r: Rows, from: number): Rows => ({
          offset: r.offset + from * r.ld * elementBytes[dtype],
          ld: r.ld,
        })
        return chunks(rows, each).flatMap(({ from, rows: n }) => [
          product({
            a: { rows: of(h.arg(0), from), dtype },
            b: { rows: h.arg(1), dtype, t: true },
            d: { rows: logits, dtype },
            m: n,
            n: vocab,
            k: width,
          }),
          ...body(h, {
            logits,
            from,
            n,
            vocab,
            width,
            dtype,
            x: of(h.arg(0), from),
            rowsOf: (r) => of(r, from),
          }),
        ])
      },
      [each * vocab * elementBytes[dtype]],
    )
  }

export interface Chunk {
  readonly logits: Rows
  readonly from: number
  readonly n: number
  readonly vocab: number
  readonly width: number
  readonly dtype: Float
  readonly x: Rows
  readonly rowsOf: (r: Rows) => Rows
}

/** Gradients of the logits of a chunk, from the loss's lse and cotangent. */
export const slopes = (h: Here, k: Chunk): Work =>
  loss.crossEntropyGrad({
    logits: k.logits,
    dtype: k.dtype,
    rows: k.n,
    width: k.vocab,
    targets: h.argAt(2) + 4 * k.from,
    lse: h.argAt(3) + 4 * k.from,
    grad: {
      ct: { offset: h.argAt(4) + 4 * k.from, each: true },
      out: k.logits,
      dtype: k.dtype,
    },
  })
