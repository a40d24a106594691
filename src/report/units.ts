/** Amounts as people read them. */

/** `26,953,662,464`. */
export const count = (n: number): string => String(n).replace(/\B(?=(?:\d{3})+$)/g, ',')

/** `1 row`, `2 rows`. */
export const plural = (n: number, word: string): string =>
  `${count(n)} ${word}${n === 1 ? '' : 's'}`

const scales: ReadonlyArray<readonly [string, number]> = [
  ['TB', 1e12],
  ['GB', 1e9],
  ['MB', 1e6],
  ['kB', 1e3],
]

/** Three significant digits or more, in powers of 1000, as `16GB` is meant: `26.95 GB`. */
export const size = (bytes: number): string => {
  const [unit, scale] = scales.find(([, s]) => Math.abs(bytes) >= s) ?? ['B', 1]
  const n = bytes / scale
  return `${scale === 1 ? n : n.toFixed(Math.abs(n) < 100 ? 2 : 1)} ${unit}`
}

const exact: ReadonlyArray<readonly [string, number]> = [
  ['GB', 1e9],
  ['GiB', 2 ** 30],
  ['MB', 1e6],
  ['MiB', 2 ** 20],
]

/** As a config writes it, to the byte: `16GB`. */
export const written = (bytes: number): string => {
  const [unit, scale] = exact.find(([, s]) => bytes % s === 0) ?? ['B', 1]
  return `${bytes / scale}${unit}`
}

/** `1 h 04 min`, `3 min 20 s`, `12 s`, `0.8 s`. */
export const duration = (seconds: number): string => {
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`
  const whole = Math.round(seconds)
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)]
  const two = (n: number) => String(n).padStart(2, '0')
  if (hours > 0) return `${hours} h ${two(minutes)} min`
  return minutes > 0 ? `${minutes} min ${two(whole % 60)} s` : `${whole} s`
}
