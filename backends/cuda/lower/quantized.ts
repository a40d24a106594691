/** Values in 8-bit floats and the scales of frozen weights: what products of 8-bit floats read besides the values of the program. */
import type { Id } from '../../../ir/graph.ts'
import type { Float8 } from '../../../ir/number.ts'
import { tensor, type Float } from '../../../ir/type.ts'
import { quantizeRows } from '../kernels/float8.ts'
import { columnScales, rowScales } from '../kernels/nf4-float8.ts'
import type { Context } from './context.ts'
import { packedAt, packedBytes } from './float8.ts'
import type { Decoded } from './pattern.ts'
import type { Constant, Key, Step } from './step.ts'

const ROWS = / rows ([\d,]+)$/

/** Rows of up to four values side by side, quantized as one row. */
export const quantizedKey = (format: Float8, ids: ReadonlyArray<Id>): string =>
  `${format} rows ${ids.join()}`

export const widthOf = (c: Context, ids: ReadonlyArray<Id>): number =>
  ids.reduce((n, id) => n + c.type(id).shape[1]!, 0)

/** The step that makes a key of this kind, where none writes it beside what it makes anyway. */
export const quantizing = (c: Context, key: Key): Step | undefined => {
  const found = typeof key === 'string' ? ROWS.exec(key) : null
  if (found === null) return undefined
  const ids = found[1]!.split(',').map(Number)
  const rows = c.type(ids[0]!).shape[0]!
  const width = widthOf(c, ids)
  return {
    rule: 'quantize rows',
    group: 'quantize',
    covers: [],
    reads: ids,
    writes: [{ key, type: tensor('u8', packedBytes(rows, width)) }],
    over: [],
    scratch: [],
    works: (at) => {
      const out = packedAt(at.offset(key), rows, width)
      return [
        quantizeRows({
          parts: ids.map((id) => ({ x: at.rows(id), width: c.type(id).shape[1]! })),
          out,
          scales: out.scales,
          rows,
          dtype: c.type(ids[0]!).dtype as Float,
          format: (key as string).startsWith('e5m2') ? 'e5m2' : 'e4m3',
        }),
      ]
    },
  }
}

const names = (ws: ReadonlyArray<Decoded>): ReadonlyArray<string> => ws.map((w) => w.state.name)
const heights = (ws: ReadonlyArray<Decoded>): number =>
  ws.reduce((n, w) => n + w.state.type.shape[0]!, 0)

/** Scales of the rows of weights, one above the other. */
export const rowConstant = (ws: ReadonlyArray<Decoded>): Constant => ({
  key: `scales of rows of ${names(ws).join()}`,
  bytes: 4 * heights(ws),
  of: names(ws),
  works: (state, own) =>
    ws.map((w, i) =>
      rowScales(
        { type: w.state.type, offset: state(w.state.name) },
        own + 4 * heights(ws.slice(0, i)),
        w.to,
      ),
    ),
})

/** Scales of the columns of up to four weights, one above the other. */
export const columnConstant = (ws: ReadonlyArray<Decoded>): Constant => ({
  key: `scales of columns of ${names(ws).join()}`,
  bytes: 4 * ws[0]!.state.type.shape[1]!,
  of: names(ws),
  works: (state, own) => [
    columnScales(
      ws.map((w) => ({ type: w.state.type, offset: state(w.state.name) })),
      own,
      ws[0]!.to,
    ),
  ],
})
