/** Rows by index: of the embedding, of hidden states, of caches. */
import * as elementwise from '../kernels/elementwise.ts'
import { alone, type Lowering } from './alone.ts'

export const gather: Lowering = (c, s) =>
  alone(c, s, (h) => [
    elementwise.gather({
      ...h.shape,
      dtype: h.dtype,
      table: h.arg(0),
      index: h.argAt(1),
      out: h.out(),
    }),
  ])

/** A row is all that lies behind one index: of more than one axis it is one long row, without a gap. */
export const takeRows: Lowering = (c, s) => {
  const [rows, ...rest] = s.eqn.types[0]!.shape as readonly [number, ...number[]]
  if (rest.length < 2) return gather(c, s)
  const width = rest.reduce((a, b) => a * b, 1)
  return alone(c, s, (h) => [
    elementwise.gather({
      rows,
      width,
      dtype: h.dtype,
      table: { offset: h.argAt(0), ld: width },
      index: h.argAt(1),
      out: { offset: h.outAt(), ld: width },
    }),
  ])
}
