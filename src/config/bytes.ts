/** Amounts of memory as people write them: `16GB`, `11.5GiB`. */

const units: ReadonlyArray<readonly [string, number]> = [
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
  ['KB', 1e3],
  ['MB', 1e6],
  ['GB', 1e9],
  ['TB', 1e12],
  ['B', 1],
]

/** Whole bytes, rounded down; undefined unless a positive number and a unit (any case). */
export const parseBytes = (text: string): number | undefined => {
  const [, digits = '', unit = ''] = /^\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*$/i.exec(text) ?? []
  const factor = units.find(([name]) => name.toLowerCase() === unit.toLowerCase())?.[1]
  const bytes = factor === undefined ? 0 : Math.floor(Number(digits) * factor)
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined
}
