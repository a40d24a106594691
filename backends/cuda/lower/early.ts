/** Which launches may begin before the one ahead has ended: short kernels of a token's chain, where launching costs as much as running. */
import type { Launch } from '../launch.ts'
import type { Context } from './context.ts'

/** First architecture with programmatic dependent launch. */
const FIRST = 90

/**
 * Kernels that wait (`WAIT`) before they touch what a launch writes. Until then `few_rows` and `few_wide` ask for frozen weights,
 * which functions that update caches alone do not write.
 */
const waiting: ReadonlySet<string> = new Set([
  'few_rows',
  'few_low',
  'few_join',
  'few_wide',
  'token_attention',
  'token_join',
  'rms_norm_whole',
  'argmax_rows',
])

const cachesAlone = (c: Context): boolean => {
  const roles = new Map(c.program.state.map((s) => [s.name, s.role]))
  return c.fn.updates.length > 0 && c.fn.updates.every((u) => roles.get(u.state) === 'cache')
}

/** Where the target asks for it, for it is not proven on a card yet; behind a kernel only: what begins after a copy or a library's product waits for all of it. */
export const early = (c: Context, list: ReadonlyArray<Launch>): ReadonlyArray<Launch> =>
  c.target.early === true && c.target.arch >= FIRST && cachesAlone(c)
    ? list.map((l, i) =>
        l._tag === 'kernel' && waiting.has(l.kernel.name) && list[i - 1]?._tag === 'kernel'
          ? { ...l, early: true }
          : l,
      )
    : list
