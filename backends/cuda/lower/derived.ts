/** Values that only the device program has, made for the first step that asks. */
import type { Id } from '../../../ir/graph.ts'
import { tensor } from '../../../ir/type.ts'
import { rangesBytes, segmentRanges } from '../kernels/attention-fast.ts'
import { narrowingOf } from './adapters.ts'
import type { Context } from './context.ts'
import type { Key, Step } from './step.ts'

const RANGES = 'segment ranges '

/** Lowest and highest segment of every 64 tokens, for all layers of a function. */
export const rangesKey = (segments: Id): string => `${RANGES}${segments}`

const rangesOf = (c: Context, key: string): Step => {
  const segments = Number(key.slice(RANGES.length))
  const [rows, length] = c.type(segments).shape as readonly [number, number]
  const dims = { rows, length, heads: 1, kvHeads: 1, dim: 16, dtype: 'f16' } as const
  return {
    rule: 'segment ranges',
    group: 'attention',
    covers: [],
    reads: [segments],
    writes: [{ key, type: tensor('i32', rangesBytes(dims) / 4) }],
    over: [],
    scratch: [],
    works: (at) => [
      segmentRanges({ ...dims, segments: at.offset(segments), ranges: at.offset(key) }),
    ],
  }
}

export const derived = (c: Context, key: Key): Step | undefined =>
  typeof key === 'number'
    ? undefined
    : key.startsWith(RANGES)
      ? rangesOf(c, key)
      : narrowingOf(c, key)
