/** The known word nearest to a misspelt one, by edit distance. */

/** Case, `_`, `-` and spaces do not count: `learningRate` is `learning_rate`. */
const bare = (word: string): string => word.toLowerCase().replace(/[-_\s]/g, '')

const limitFor = (length: number): number => {
  if (length <= 2) return 0
  if (length <= 4) return 1
  return length <= 8 ? 2 : 3
}

/** Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`. */
export const editDistance = (a: string, b: string): number => {
  let before: ReadonlyArray<number> = []
  let last: ReadonlyArray<number> = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1] ? 0 : 1
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const best = Math.min(
        (last[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (last[j - 1] ?? 0) + same,
        swapped ? (before[j - 2] ?? 0) + 1 : Infinity,
      )
      row.push(best)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

/** Undefined where nothing is near enough to be meant; ties go to the first. */
export const nearest = (word: string, known: ReadonlyArray<string>): string | undefined => {
  const meant = bare(word)
  const limit = limitFor(meant.length)
  let best: { readonly word: string; readonly distance: number } | undefined
  for (const candidate of known) {
    const other = bare(candidate)
    if (Math.abs(other.length - meant.length) > limit) continue
    const distance = editDistance(meant, other)
    if (distance <= limit && (best === undefined || distance < best.distance))
      best = { word: candidate, distance }
  }
  return best?.word
}
