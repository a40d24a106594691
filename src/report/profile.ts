/** Where the time of a step goes, as a table and as JSON. */
import type { GroupTime } from '../../backends/cuda/profile.ts'
import type { FnProfile, Profiled } from '../profile/measure.ts'
import type { Style } from './style.ts'
import { table } from './table.ts'
import { count, plural, size } from './units.ts'

export interface GroupRow extends GroupTime {
  /** Of the step's launches. */
  readonly share: number
  /** Times its floor; null where the floor is nothing. */
  readonly ratio: number | null
}

/** The groups of a whole optimizer step, the longest first. */
export const groupsOf = (fns: ReadonlyArray<FnProfile>): ReadonlyArray<GroupRow> => {
  const sums = new Map<string, GroupTime>()
  for (const { calls, groups } of fns)
    for (const g of groups) {
      const s = sums.get(g.group) ?? { group: g.group, launches: 0, ms: 0, floorMs: 0 }
      sums.set(g.group, {
        group: g.group,
        launches: s.launches + calls * g.launches,
        ms: s.ms + calls * g.ms,
        floorMs: s.floorMs + calls * g.floorMs,
      })
    }
  const total = [...sums.values()].reduce((n, g) => n + g.ms, 0)
  return [...sums.values()]
    .toSorted((a, b) => b.ms - a.ms)
    .map((g) => ({
      ...g,
      share: total === 0 ? 0 : g.ms / total,
      ratio: g.floorMs === 0 ? null : g.ms / g.floorMs,
    }))
}

/** The middle of a sorted list; the first steps are not hot and count little so. */
export const median = (list: ReadonlyArray<number>): number =>
  list.toSorted((a, b) => a - b)[Math.floor(list.length / 2)]!

const tokensOf = (p: Profiled): number => p.microSteps * p.rows * p.length

const off = (is: number, predicted: number): string => {
  const percent = 100 * (is / predicted - 1)
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent).toFixed(1)} %`
}

const row = (g: GroupRow): ReadonlyArray<string> => [
  g.group,
  count(g.launches),
  g.ms.toFixed(3),
  `${(100 * g.share).toFixed(1)} %`,
  g.floorMs.toFixed(3),
  g.ratio === null ? '' : `${g.ratio.toFixed(2)}×`,
]

const source = (p: Profiled): string =>
  `${p.ownWeights ? "the base's weights" : 'random weights'}, ${p.ownData ? "the job's rows" : 'random tokens'}`

export const profileLines = (p: Profiled, s: Style): ReadonlyArray<string> => {
  const rows = groupsOf(p.fns)
  const sum = (key: 'launches' | 'ms' | 'floorMs') => rows.reduce((n, g) => n + g[key], 0)
  const [ms, floorMs] = [sum('ms'), sum('floorMs')]
  const right = (title: string) => ({ title, align: 'right' as const })
  const total: GroupRow = {
    group: 'all',
    launches: sum('launches'),
    ms,
    floorMs,
    share: 1,
    ratio: floorMs === 0 ? null : ms / floorMs,
  }
  const [head, ...lines] = table(
    [
      { title: 'group', align: 'left' },
      ...['launches', 'ms', 'share', 'floor ms', 'ratio'].map(right),
    ],
    [...rows, total].map(row),
  )
  const middle = median(p.steps)
  const { arenaBytes, predictedBytes, usedBytes } = p.memory
  return [
    `${s.bold(p.model)} on ${p.gpu}, ${plural(p.microSteps, 'micro-step')} of ${plural(p.rows, 'row')} of ${plural(p.length, 'token')} a step; ${source(p)}`,
    '',
    s.dim(head!),
    ...lines.slice(0, -1),
    s.bold(lines.at(-1)!),
    '',
    `${s.bold('step')}    ${middle.toFixed(2)} ms, ${count(Math.round((tokensOf(p) / middle) * 1e3))} tokens/s: the middle of ${plural(p.steps.length, 'step')}${
      p.predictedMs === null
        ? ''
        : `; predicted ${p.predictedMs.toFixed(2)} ms, measured ${off(middle, p.predictedMs)}`
    }`,
    `${s.bold('memory')}  ${size(usedBytes)} of the device in use, of any process; predicted ${size(predictedBytes)} (arena ${size(arenaBytes)}), measured ${off(usedBytes, predictedBytes)}`,
    s.dim(
      `floors: bytes at ${(p.ceilings.bytes / 1e12).toFixed(2)} TB/s, operations at ${(p.ceilings.flops / 1e12).toFixed(0)} TFLOP/s, whichever takes longer`,
    ),
  ]
}

/** The same in exact numbers, for machines. */
export const profileJson = (p: Profiled): object => ({
  ...p,
  tokensPerSecond: (tokensOf(p) / median(p.steps)) * 1e3,
  stepMs: median(p.steps),
  groups: groupsOf(p.fns),
})
