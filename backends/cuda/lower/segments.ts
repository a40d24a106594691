/** Rows of a table by id, sums of elements by id and their transpose. */
import { size } from '../../../ir/type.ts'
import { gather as gatherRows, take } from '../kernels/elementwise.ts'
import { embedGrad } from '../kernels/reduce.ts'
import { alone, type Lowering } from './alone.ts'
import { argOf } from './pattern.ts'

export const gather: Lowering = (c, s) =>
  alone(c, s, (h) => [
    gatherRows({
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
    gatherRows({
      rows,
      width,
      dtype: h.dtype,
      table: { offset: h.argAt(0), ld: width },
      index: h.argAt(1),
      out: { offset: h.outAt(), ld: width },
    }),
  ])
}

/** The gradient of an embedding one column wide. */
export const segmentSum: Lowering = (c, s) =>
  alone(c, s, (h) => [
    embedGrad({
      ids: h.argAt(1),
      ct: { offset: h.argAt(0), ld: 1 },
      out: { offset: h.outAt(), ld: 1 },
      tokens: size(c.type(argOf(s, 0))),
      vocab: size(s.eqn.types[0]!),
      width: 1,
      dtype: 'f32',
    }),
  ])

export const segmentTake: Lowering = (c, s) =>
  alone(c, s, (h) => [
    take({
      a: h.argAt(0),
      count: size(c.type(argOf(s, 0))),
      ids: h.argAt(1),
      out: h.outAt(),
      n: size(s.eqn.types[0]!),
    }),
  ])
