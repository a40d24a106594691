/** Values that only the device program has, made for the first step that asks. */
import type { Id } from '../../../ir/graph.ts'
import { tensor } from '../../../ir/type.ts'
import { rangesBytes, segmentRanges } from '../kernels/attention-fast.ts'
import { aligned } from '../../../passes/memory.ts'
import { narrowingOf } from './adapters.ts'
import type { Context } from './context.ts'
import type { Key, Places, Step } from './step.ts'

const RANGES = 'segment ranges '

const COUNTER = 256

/** Lowest and highest segment of every 64 tokens, for all layers of a function; behind them a counter that is 0 between launches. */
export const rangesKey = (segments: Id): string => `${RANGES}${segments}`

const rangesOf = (c: Context, key: string): Step => {
  const segments = Number(key.slice(RANGES.length))
  const dims = dimsOf(c, segments)
  return {
    rule: 'segment ranges',
    group: 'attention',
    covers: [],
    reads: [segments],
    writes: [{ key, type: tensor('u8', aligned(rangesBytes(dims)) + COUNTER) }],
    over: [],
    scratch: [],
    works: (at) => {
      const { ranges, counter } = rangesAt(c, at, segments)
      return [
        segmentRanges({ ...dims, segments: at.offset(segments), ranges }),
        { _tag: 'clear', offset: counter, length: 4, bytes: 4, flops: 0 },
      ]
    },
  }
}

const dimsOf = (c: Context, segments: Id) => {
  const [rows, length] = c.type(segments).shape as readonly [number, number]
  return { rows, length, heads: 1, kvHeads: 1, dim: 16, dtype: 'f16' } as const
}

/** What kernels on tensor cores read beside their operands. */
export const rangesAt = (c: Context, at: Places, segments: Id) => {
  const ranges = at.offset(rangesKey(segments))
  return { ranges, counter: ranges + aligned(rangesBytes(dimsOf(c, segments))) }
}

export const derived = (c: Context, key: Key): Step | undefined =>
  typeof key === 'number'
    ? undefined
    : key.startsWith(RANGES)
      ? rangesOf(c, key)
      : narrowingOf(c, key)
