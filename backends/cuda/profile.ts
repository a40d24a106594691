/** Where the time of a function goes: each launch timed on the device, summed by group, beside the least it could take. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bindAll, type Put } from './bind.ts'
import { each, ending, inOrder, type Cuda } from './driver/error.ts'
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

/** A profile by graphs: each group's launches alone, and all of them. */
export interface GraphProfile {
  readonly groups: ReadonlyArray<GroupTime>
  /** Milliseconds of a replay of the whole function. */
  readonly wholeMs: number
}

/**
 * Times graphs of the launches of each group, replayed `replays` times in a row: what a launch costs within a graph, where short kernels
 * launched one by one show the launching. For functions whose launches find no place by what another one of them made (`decode`: its
 * places are inputs); numbers are made of whatever lies there, and caches hold garbage afterwards.
 */
export const profileGraphs = (
  s: CudaSession,
  fn: string,
  inputs: Feeds,
  at: Ceilings,
  key: (l: Launch) => string = (l) => l.group,
  replays = 20,
): E.Either<BackendError, GraphProfile> => {
  const { gpu } = s.device
  const launches = s.lowered.fns.find((f) => f.name === fn)?.launches ?? []
  const timed = (puts: ReadonlyArray<Put>): Cuda<number> =>
    pipe(
      gpu.capture(() => inOrder(puts)),
      E.chain((graph) => {
        const replay = (): Cuda<void> =>
          inOrder(Array.from({ length: replays }, () => () => gpu.replay(graph)))
        // The first is not counted.
        return ending(gpu.times([replay, replay]), () => gpu.destroy(graph))
      }),
      E.map(([, ms]) => ms! / replays),
    )
  const groups = groupTimes(
    launches.map((launch) => ({ launch, ms: 0 })),
    at,
    key,
  )
  return pipe(
    s.feed(fn, inputs),
    E.chain(() =>
      E.mapLeft(asBackendError)(
        pipe(
          bindAll(s.device, launches),
          E.bindTo('puts'),
          E.bind('wholeMs', ({ puts }) => timed(puts)),
          E.bind('each', ({ puts }) =>
            each(groups, (g) => timed(puts.filter((_, i) => key(launches[i]!) === g.group))),
          ),
        ),
      ),
    ),
    E.map(({ wholeMs, each: ms }) => ({
      wholeMs,
      groups: groups.map((g, i) => ({ ...g, ms: ms[i]! })).toSorted((a, b) => b.ms - a.ms),
    })),
  )
}
