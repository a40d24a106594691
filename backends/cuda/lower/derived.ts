/** Values that only the device program has, made for the first step that asks. */
import type { Id } from '../../../ir/graph.ts'
import { tensor } from '../../../ir/type.ts'
import { rangesBytes, segmentRanges } from '../kernels/attention-fast.ts'
import { narrowingOf } from './adapters.ts'
import type { Context } from './context.ts'
import { quantizing } from './quantized.ts'
import type { Key, Step } from './step.ts'

const RANGES = 'segment ranges '

/** Lowest and highest segment of every 64 tokens, and a tile counter, for all layers of a function. */
export const rangesKey = (segments: Id): string => `${RANGES}${segments}`

const rangesOf = (c: Context, key: string): Step => {
  const segments = Number(key.slice(RANGES.length))
  const dims = dimsOf(c, segments)
  return {
    rule: 'segment ranges',
    group: 'attention',
    covers: [],
    reads: [segments],
    writes: [{ key, type: tensor('u8', rangesBytes(dims)) }],
    over: [],
    scratch: [],
    works: (at) => [
      segmentRanges({ ...dims, segments: at.offset(segments), ranges: at.offset(key) }),
    ],
  }
}

const dimsOf = (c: Context, segments: Id) => {
  const [rows, length] = c.type(segments).shape as readonly [number, number]
  return { rows, length, heads: 1, kvHeads: 1, dim: 16, dtype: 'f16' } as const
}

export const derived = (c: Context, key: Key): Step | undefined =>
  typeof key === 'number'
    ? undefined
    : key.startsWith(RANGES)
      ? rangesOf(c, key)
      : (quantizing(c, key) ?? narrowingOf(c, key))
