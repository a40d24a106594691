/** What the planner chose for a GPU, and what the next best would have cost, in words. */
import type { Considered } from '../plan/choose.ts'
import type { Plan } from '../plan/plan.ts'
import { roomWords } from '../plan/room.ts'
import { plural, size } from './units.ts'

const seconds = (s: number): string => (s < 1 ? `${(s * 1e3).toFixed(1)} ms` : `${s.toFixed(2)} s`)

const way = (c: Considered): string =>
  [
    `${plural(c.rows, 'row')} at once`,
    c.recomputes ? 'some values recomputed' : 'nothing recomputed',
    roomWords(c.room),
  ]
    .filter((x) => x !== null)
    .join(', ')

const more = (chosen: Considered, next: Considered): string => {
  const percent = 100 * (next.seconds / chosen.seconds - 1)
  const time = `${Math.abs(percent).toFixed(1)} % ${percent < 0 ? 'faster' : 'slower'}`
  return `${time} in ${size(next.total)}`
}

/** Null where the plan is for a CPU. */
export const deviceLine = ({ device }: Plan): string | null => {
  if (device === null) return null
  const { name, target, measured, freeBytes } = device
  const rates = measured ? 'rates measured here' : 'rates of an H100 assumed'
  const free = freeBytes === null ? '' : `, ${size(freeBytes)} free`
  return `${name}, sm_${target.arch}, ${target.sms} multiprocessors${free}; ${rates}`
}

/** Null where nothing was weighed. */
export const choiceLine = ({ considered: [chosen, next] }: Plan): string | null =>
  chosen === undefined
    ? null
    : `${way(chosen)}: ${seconds(chosen.seconds)} a step predicted; ${
        next === undefined
          ? 'no other way was found that fits'
          : `next best ${way(next)}: ${more(chosen, next)}`
      }`
