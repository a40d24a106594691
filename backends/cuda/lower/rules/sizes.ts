/** Sizes of values that lie side by side. */
export const sum = (list: ReadonlyArray<number>): number => list.reduce((n, x) => n + x, 0)
const up = (n: number, to: number): number => Math.ceil(n / to) * to

/** Low-rank columns beside inner ones: a multiple of 32 for the product, rows apart by a multiple of 64 more. */
export const lowColumns = (ranks: ReadonlyArray<number>) => {
  const used = sum(ranks)
  return { used, inner: up(used, 32), ld: up(used, 64) }
}

/** First column of each. */
export const startsOf = (sizes: ReadonlyArray<number>): ReadonlyArray<number> =>
  sizes.map((_, i) => sum(sizes.slice(0, i)))

/** Neighbours together while their sizes stay within a limit; one alone may exceed it. */
export const within = (
  sizes: ReadonlyArray<number>,
  limit: number,
): ReadonlyArray<ReadonlyArray<number>> => {
  const runs: number[][] = []
  let left = -1
  sizes.forEach((n, i) => {
    if (n <= left) runs.at(-1)!.push(i)
    else {
      runs.push([i])
      left = limit
    }
    left -= n
  })
  return runs
}
