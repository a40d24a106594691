/**
 * Which launches may begin before the one ahead has ended: short kernels of a token's chain, where launching costs as much as running.
 *
 * Why they see what they would see in turn, also two launches back. WAIT returns when the launch ahead is over and its writes are visible.
 * That one, if early itself, is over only after its own WAIT in every thread, so after the one ahead of it; and so on to the first, which begins
 * behind all before it, as does any launch that is not early. Behind WAIT, then, no earlier launch still writes what is read here or reads what
 * is written here, wherever places of the arena are used again. Before WAIT a kernel reads only what no launch of its list writes and writes only
 * shared memory: the emulation (test/cuda/device.h) runs that part over garbage. Nobody waits in vain: the next launch begins when every block of
 * this one has begun, so waiting blocks never hold the place of one that has not.
 */
import type { Launch } from '../launch.ts'
import type { Context } from './context.ts'

/** First architecture with programmatic dependent launch. */
const FIRST = 90

/**
 * Kernels that wait (`WAIT`) before they touch what a launch writes. Until then some of them ask for weights, frozen or trained,
 * which functions that update caches alone do not write.
 */
const waiting: ReadonlySet<string> = new Set([
  'few_rows',
  'few_parts',
  'few_low',
  'few_join',
  'few_join_norm',
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

/** Unless the target says not to; behind a kernel only: what begins after a copy or a library's product waits for all of it. */
export const early = (c: Context, list: ReadonlyArray<Launch>): ReadonlyArray<Launch> =>
  c.target.early !== false && c.target.arch >= FIRST && cachesAlone(c)
    ? list.map((l, i) =>
        l._tag === 'kernel' && waiting.has(l.kernel.name) && list[i - 1]?._tag === 'kernel'
          ? { ...l, early: true }
          : l,
      )
    : list
