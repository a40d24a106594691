/** Sessions opened and closed a hundred times: not a byte of device memory is lost. */
import type { Gpu } from '../../backends/cuda/driver/gpu.ts'
import type { Program } from '../../ir/graph.ts'
import { lower } from '../../backends/cuda/lower/lower.ts'
import { open, targetOf } from '../../backends/cuda/index.ts'
import { openSession } from '../../backends/cuda/session.ts'
import { trained } from '../../test/conformance.ts'
import { right } from '../../test/right.ts'
import { feedsFor, fillRandomly } from './feeds.ts'
import type { Stand } from './stand.ts'
import { mib, type Outcome } from './table.ts'

const VOCAB = 40
const LENGTH = 8

/** What a session leaves behind of what the runtime counts. */
const once = async (p: Program): Promise<string | null> => {
  const gpu = right(open())
  const s = right(openSession(gpu, lower(p, targetOf(gpu))))
  await fillRandomly(s, p, 3)
  for (const fn of ['micro', 'update']) right(await s.run(fn, feedsFor(p, fn, VOCAB, LENGTH))())
  right(await s.close()())
  const left = Object.entries(gpu.live()).filter(([, n]) => n !== 0)
  return left.length === 0 ? null : left.map(([kind, n]) => `${n} ${kind}`).join(', ')
}

const freeOf = (gpu: Gpu): number => right(gpu.memory()).free

/** Free memory as a fresh context sees it. */
const freshFree = (): number => {
  const gpu = right(open())
  const free = freeOf(gpu)
  right(gpu.close())
  return free
}

export const sessions = async (stand: Stand, o: { readonly count: number }): Promise<Outcome> => {
  const p = trained('bf16', { _tag: 'layers' })
  const faults: string[] = []
  const rows: string[][] = []
  const note = async (n: number): Promise<void> => {
    const left = await once(p)
    if (left !== null) faults.push(`session ${n} leaves ${left}`)
  }
  const measured = async (what: string, count: number, free: () => number): Promise<void> => {
    // The first loads what stays with the context: the library's own kernels, the driver's pools.
    const untouched = free()
    await note(0)
    const [before, rss] = [free(), process.memoryUsage.rss()]
    for (let i = 1; i <= count; i++) await note(i)
    const after = free()
    if (before !== after)
      faults.push(`${what}: ${before - after} bytes of ${count} sessions are gone`)
    rows.push([
      what,
      String(count),
      mib(untouched - before),
      String(before - after),
      mib(process.memoryUsage.rss() - rss),
    ])
  }
  // The context is given back each time.
  await measured('each with a context of its own', Math.ceil(o.count / 10), freshFree)
  const watcher = right(open())
  await measured('within one context', o.count, () => freeOf(watcher))
  right(watcher.close())
  return {
    columns: [
      `sessions on ${stand.name}`,
      ...['count', 'first keeps MiB', 'device bytes lost', 'host MiB grown'],
    ],
    rows,
    faults,
  }
}
