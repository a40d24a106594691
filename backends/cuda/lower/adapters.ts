/** Low-rank products of adapters: on tensor cores from 16-bit copies of A and B, which one launch makes for the whole function; else from the masters. */
import { tensor, type Float } from '../../../ir/type.ts'
import type { Place, Rows } from '../kernels/card.ts'
import { cast } from '../kernels/elementwise.ts'
import { adaptedNorms as adaptedNormsOf, backRank, lowRank } from '../kernels/lora.ts'
import { fastLowRank, JOBS, lowRanks, type LowRanks } from '../kernels/lora-mma.ts'
import type { Work } from '../launch.ts'
import { alone, type Lowering } from './alone.ts'
import type { Context } from './context.ts'
import { argOf, attr } from './pattern.ts'
import type { Key, Places, Step } from './step.ts'

/** All trained parameters in the compute dtype, in the order in which their masters lie. */
export const narrowKey = (dtype: Float): string => `adapters ${dtype}`

/** The step that makes a key of this kind. */
export const narrowingOf = (c: Context, key: Key): Step | undefined => {
  const dtype = (['bf16', 'f16'] as const).find((d) => key === narrowKey(d))
  return dtype === undefined ? undefined : narrowing(c, dtype)
}

/** The one launch that narrows them. */
const narrowing = (c: Context, dtype: Float): Step => {
  const { bytes } = c.masters
  return {
    rule: 'narrow adapters',
    group: 'lora',
    covers: [],
    reads: c.fn.reads
      .filter((r) => ['train', 'held'].includes(c.state(r.id)?.role ?? ''))
      .map((r) => r.id),
    writes: [{ key: narrowKey(dtype), type: tensor(dtype, bytes / 4) }],
    over: [],
    scratch: [],
    works: (at) => [
      cast({
        rows: 1,
        width: bytes / 4,
        a: { offset: c.masters.offset, ld: bytes / 4 },
        out: at.rows(narrowKey(dtype)),
        from: 'f32',
        to: dtype,
      }),
    ],
  }
}

/** Whether steps read the narrow copies: 16-bit arithmetic on tensor cores. */
export const narrowed = (c: Context, dtype: Float): boolean =>
  dtype !== 'f32' && (c.target.arch >= 80 || dtype === 'f16') && c.masters.bytes > 0

export const narrowReads = (c: Context, dtype: Float): ReadonlyArray<Key> =>
  narrowed(c, dtype) ? [narrowKey(dtype)] : []

export interface Low {
  readonly x: Rows
  readonly inner: number
  /** Byte offset of the f32 master. */
  readonly master: Place
  readonly out: Rows
  readonly beside: Rows | null
  readonly clear: number
  readonly rank: number
  readonly by: number
}

const slow = (j: Low, byRows: boolean, rows: number, dtype: Float): Work => {
  const o = { ...j, rows, width: j.inner, dtype }
  return byRows ? lowRank({ ...o, x: j.x, a: j.master }) : backRank({ ...o, dy: j.x, b: j.master })
}

/** by · x·Aᵀ (`byRows`) or by · dy·B of several adapters, as few launches as they allow. */
export const lowProducts = (
  c: Context,
  at: Places,
  jobs: ReadonlyArray<Low>,
  byRows: boolean,
  rows: number,
  dtype: Float,
): ReadonlyArray<Work> => {
  if (!narrowed(c, dtype)) return jobs.map((j) => slow(j, byRows, rows, dtype))
  const [first] = jobs
  if (first === undefined) return []
  const alike = jobs.filter((j) => j.rank === first.rank && j.by === first.by).slice(0, JOBS)
  const narrow = (j: Low): Place => at.offset(narrowKey(dtype)) + (j.master - c.masters.offset) / 2
  const o: LowRanks = {
    jobs: alike.map((j) => ({ ...j, small: narrow(j) })),
    byRows,
    rows,
    rank: first.rank,
    by: first.by,
    dtype,
  }
  const now = fastLowRank(c.target.arch, o)
    ? [lowRanks(o)]
    : alike.map((j) => slow(j, byRows, rows, dtype))
  const rest = jobs.filter((j) => !alike.includes(j))
  return [...now, ...lowProducts(c, at, rest, byRows, rows, dtype)]
}

/** DoRA's lengths of rows, one equation. */
export const adaptedNorms: Lowering = (c, s) =>
  alone(c, s, (h) => [
    adaptedNormsOf({
      w: h.arg(0),
      a: h.argAt(1),
      b: h.argAt(2),
      out: h.outAt(),
      rows: c.type(argOf(s, 0)).shape[0]!,
      width: c.type(argOf(s, 0)).shape[1]!,
      rank: c.type(argOf(s, 1)).shape[0]!,
      by: attr(s, 'by'),
      dtype: h.dtype,
    }),
  ])
