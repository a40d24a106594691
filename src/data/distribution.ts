/** The shape of a list of whole numbers: order statistics and a small histogram. */

export interface Bin {
  /** Both ends belong to the bin. */
  readonly from: number
  readonly to: number
  readonly count: number
}

export interface Distribution {
  readonly count: number
  readonly total: number
  readonly min: number
  readonly median: number
  /** The smallest value that at least 95 % of the values do not exceed. */
  readonly p95: number
  readonly max: number
  /** At most `most` bins of equal width from min to max. */
  readonly bins: ReadonlyArray<Bin>
}

const most = 8

/** The nearest-rank quantile of a sorted list: the smallest member that a share q of the members does not exceed. */
const quantile = (sorted: ReadonlyArray<number>, q: number): number =>
  sorted[Math.max(0, Math.ceil(q * sorted.length) - 1)] ?? 0

/** All zero and without bins for an empty list. */
export const distribution = (values: ReadonlyArray<number>): Distribution => {
  const sorted = values.toSorted((a, b) => a - b)
  const min = sorted[0] ?? 0
  const max = sorted.at(-1) ?? 0
  const width = Math.ceil((max - min + 1) / most)
  const counts = new Map<number, number>()
  for (const value of sorted) {
    const bin = Math.floor((value - min) / width)
    counts.set(bin, (counts.get(bin) ?? 0) + 1)
  }
  const bins = sorted.length === 0 ? 0 : Math.floor((max - min) / width) + 1
  return {
    count: sorted.length,
    total: sorted.reduce((sum, value) => sum + value, 0),
    min,
    median: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    max,
    bins: Array.from({ length: bins }, (_, i) => ({
      from: min + i * width,
      to: Math.min(max, min + (i + 1) * width - 1),
      count: counts.get(i) ?? 0,
    })),
  }
}
