/** Random small jobs at random budgets: each that the plan says fits runs in an arena capped at the plan's size. */
import * as E from 'fp-ts/lib/Either.js'
import { lower } from '../../backends/cuda/lower/lower.ts'
import { stateBytes } from '../../passes/memory.ts'
import { fnOf } from '../../ir/graph.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { right } from '../../test/right.ts'
import type { Cramped } from './cramped.ts'
import { feedsFor, fillRandomly } from './feeds.ts'
import { randomJob } from './jobs.ts'
import type { Stand } from './stand.ts'
import { mib, type Outcome } from './table.ts'

const functions = ['micro', 'update', 'evaluate'] as const

/** Runs each training function once. */
const tried = async (
  { device }: Stand,
  room: Cramped,
  plan: Plan,
): Promise<ReadonlyArray<string>> => {
  const { program: p, base, shapes, room: used } = plan
  const { arenaBytes } = lower(p, { ...device.target, ...used })
  if (arenaBytes !== plan.arenaBytes)
    return [`the plan says an arena of ${plan.arenaBytes} bytes, the backend takes ${arenaBytes}`]
  const { session, faults } = await room.open(p, used)
  try {
    await fillRandomly(session, p, 1)
    const found: string[] = []
    for (const fn of functions.filter((f) => fnOf(p, f) !== undefined)) {
      const outs = await session.run(fn, feedsFor(p, fn, base.spec.vocab, shapes.length))()
      if (E.isLeft(outs)) return [`@${fn}: ${outs.left.message}`]
      for (const [name, x] of Object.entries(outs.right))
        if (!x.every(Number.isFinite))
          found.push(`@${fn} ${name} is ${x.find((n) => !Number.isFinite(n))}`)
    }
    return [...found, ...faults()]
  } finally {
    right(await session.close()())
  }
}

export const fits = async (
  stand: Stand,
  o: {
    readonly from: number
    readonly count: number
    readonly seed: number
    readonly seconds: number
  },
): Promise<Outcome> => {
  const room = stand.cramped()
  const count = { fits: 0, tight: 0, over: 0, refused: 0 }
  const faults: string[] = []
  const notes: string[] = []
  let largest = 0
  const begun = performance.now()
  let i = o.from
  for (; i < o.from + o.count && performance.now() - begun < o.seconds * 1e3; i++) {
    const job = randomJob(stand.folder, stand.device, stand.emulated ? 'small' : 'large', o.seed, i)
    const free = job.plan(null)
    if (E.isLeft(free)) {
      count.refused++
      notes.push(`${job.name}: refused, ${free.left[0].message}`)
      continue
    }
    const { arenaBytes, totalBytes } = free.right
    // State is there at any budget: what is shared out is the room for temporaries.
    const temporaries = arenaBytes - stateBytes(free.right.program)
    const budget =
      job.share === null ? null : Math.round(totalBytes - (1 - job.share) * temporaries)
    const plan = budget === null ? free.right : right(job.plan(budget))
    if (budget !== null && plan.totalBytes > budget) {
      count.over++
      continue
    }
    count.fits++
    if (budget !== null && plan.arenaBytes < arenaBytes) count.tight++
    largest = Math.max(largest, plan.arenaBytes)
    faults.push(...(await tried(stand, room, plan)).map((f) => `${job.name}: ${f}`))
  }
  room.close()
  return {
    columns: [
      'jobs',
      'fit and ran',
      'of them made smaller',
      'over budget',
      'refused',
      'largest arena MiB',
      'seconds',
    ],
    rows: [
      [
        `${o.from}–${i - 1}`,
        ...[count.fits, count.tight, count.over, count.refused].map(String),
        mib(largest),
        ((performance.now() - begun) / 1e3).toFixed(1),
      ],
    ],
    notes: i < o.from + o.count ? [...notes, `time is up: go on with --from ${i}`] : notes,
    faults,
  }
}
