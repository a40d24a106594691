/** Where the time of a function goes: each launch timed on the device, summed by group, beside the least it could take. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bindAll } from './bind.ts'
import type { BackendError, Feeds } from '../backend.ts'
import type { Launch } from './launch.ts'
import { floorOf, type Ceilings } from './lower/text.ts'
import { asBackendError } from './failure.ts'
import type { CudaSession } from './session.ts'

export interface GroupTime {
  readonly group: string
  readonly launches: number
  readonly ms: number
  /** Least milliseconds of its bytes and operations at the ceilings. */
  readonly floorMs: number
}

export interface Profile {
  readonly fn: string
  readonly groups: ReadonlyArray<GroupTime>
  readonly launches: ReadonlyArray<{ readonly launch: Launch; readonly ms: number }>
}

const median = (list: ReadonlyArray<number>): number =>
  [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!

export const groupTimes = (
  launches: Profile['launches'],
  at: Ceilings,
  key: (l: Launch) => string = (l) => l.group,
): ReadonlyArray<GroupTime> => {
  const groups = new Map<string, GroupTime>()
  for (const { launch, ms } of launches) {
    const g = groups.get(key(launch)) ?? { group: key(launch), launches: 0, ms: 0, floorMs: 0 }
    groups.set(key(launch), {
      ...g,
      launches: g.launches + 1,
      ms: g.ms + ms,
      floorMs: g.floorMs + 1e3 * floorOf(launch, at),
    })
  }
  return [...groups.values()].sort((a, b) => b.ms - a.ms)
}

/** Runs the function `rounds` times launch by launch, each time from the inputs given; state changes as if it had been run. */
export const profile = (
  s: CudaSession,
  fn: string,
  inputs: Feeds,
  at: Ceilings,
  rounds = 3,
): E.Either<BackendError, Profile> => {
  const launches = s.lowered.fns.find((f) => f.name === fn)?.launches ?? []
  return pipe(
    bindAll(s.device, launches),
    E.mapLeft(asBackendError),
    E.chain((puts): E.Either<BackendError, Profile['launches']> => {
      const all: Array<ReadonlyArray<number>> = []
      for (let i = 0; i < rounds; i++) {
        const fed = s.feed(fn, inputs)
        if (E.isLeft(fed)) return fed
        const ms = E.mapLeft(asBackendError)(s.device.gpu.times(puts))
        if (E.isLeft(ms)) return ms
        all.push(ms.right)
      }
      return E.right(launches.map((launch, i) => ({ launch, ms: median(all.map((r) => r[i]!)) })))
    }),
    E.map((timed) => ({ fn, launches: timed, groups: groupTimes(timed, at) })),
  )
}
