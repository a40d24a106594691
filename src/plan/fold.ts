/** Runs that repeat: one turn is shown, the others are counted. */

export type Folded<T> = T | { readonly times: number; readonly lines: number }

/** Longest block that is looked for; a layer's worth of updates is shorter. */
const LONGEST = 64
/** Turns from which a run is worth folding. */
const TURNS = 3

const turnsAt = (keys: ReadonlyArray<string>, from: number, length: number): number => {
  let end = from + length
  while (end < keys.length && keys[end] === keys[end - length]) end++
  return Math.floor((end - from) / length)
}

/** The length of the block at `from` whose repetition hides most lines, and its turns. */
const best = (keys: ReadonlyArray<string>, from: number) => {
  let found = { length: 0, turns: 1 }
  for (let length = 1; length <= LONGEST && from + length < keys.length; length++) {
    if (keys[from] !== keys[from + length]) continue
    const turns = turnsAt(keys, from, length)
    if (turns >= TURNS && turns * length > found.turns * found.length) found = { length, turns }
  }
  return found
}

/** Items in order, where a block that comes three times or more on end is given once, then its count. */
export const foldRuns = <T>(
  items: ReadonlyArray<T>,
  key: (item: T) => string,
): ReadonlyArray<Folded<T>> => {
  const keys = items.map(key)
  const out: Array<Folded<T>> = []
  for (let i = 0; i < items.length;) {
    const { length, turns } = best(keys, i)
    if (turns < TURNS) {
      out.push(items[i++]!)
      continue
    }
    out.push(...items.slice(i, i + length), { times: turns - 1, lines: length })
    i += length * turns
  }
  return out
}
