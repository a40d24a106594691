/** How good predictions of labels and numbers are: Ludwig's names, with the values that they promise. */

/** Mean of what a class's rows are told right, over classes that have rows: Ludwig's `accuracy` of categories. */
export const macroAccuracy = (matrix: ReadonlyArray<ReadonlyArray<number>>): number => {
  const recalls = matrix.flatMap((row, c) => {
    const all = row.reduce((a, b) => a + b, 0)
    return all === 0 ? [] : [row[c]! / all]
  })
  return recalls.reduce((a, b) => a + b, 0) / recalls.length
}

/** Share of rows told right. */
export const microAccuracy = (matrix: ReadonlyArray<ReadonlyArray<number>>): number => {
  const all = matrix.flat().reduce((a, b) => a + b, 0)
  return matrix.reduce((n, row, c) => n + row[c]!, 0) / all
}

/** Rows by their class, columns by the predicted one. */
export const confusion = (
  classes: number,
  labels: ReadonlyArray<number>,
  predicted: ReadonlyArray<number>,
): ReadonlyArray<ReadonlyArray<number>> => {
  const matrix = Array.from({ length: classes }, () => Array.from({ length: classes }, () => 0))
  labels.forEach((label, i) => (matrix[label]![predicted[i]!]! += 1))
  return matrix
}

/** The chance that a positive row scores above a negative one, ties half (Mann–Whitney); NaN without rows of both. */
export const rocAuc = (scores: ReadonlyArray<number>, positive: ReadonlyArray<boolean>): number => {
  const ranked = scores.map((score, i) => ({ score, i })).toSorted((a, b) => a.score - b.score)
  const ranks = new Float64Array(scores.length)
  for (let from = 0; from < ranked.length;) {
    let to = from
    while (to < ranked.length && ranked[to]!.score === ranked[from]!.score) to++
    for (let k = from; k < to; k++) ranks[ranked[k]!.i] = (from + 1 + to) / 2
    from = to
  }
  const n = positive.filter(Boolean).length
  const sum = positive.reduce((s, is, i) => (is ? s + ranks[i]! : s), 0)
  return (sum - (n * (n + 1)) / 2) / (n * (scores.length - n))
}

/** The mean over classes of one against the rest; classes without rows of both kinds are left out. */
export const macroAuc = (
  probabilities: ReadonlyArray<ReadonlyArray<number>>,
  labels: ReadonlyArray<number>,
  classes: number,
): number => {
  const each = Array.from({ length: classes }, (_, c) =>
    rocAuc(
      probabilities.map((p) => p[c]!),
      labels.map((l) => l === c),
    ),
  ).filter(Number.isFinite)
  return each.reduce((a, b) => a + b, 0) / each.length
}

/** Share of rows whose class is among the k likeliest; of equals the lower class is likelier. */
export const hitsAt = (
  k: number,
  probabilities: ReadonlyArray<ReadonlyArray<number>>,
  labels: ReadonlyArray<number>,
): number => {
  const hits = labels.filter((label, i) => {
    const p = probabilities[i]!
    const before = p.filter((x, c) => x > p[label]! || (x === p[label] && c < label)).length
    return before < k
  })
  return hits.length / labels.length
}

export interface Errors {
  readonly mean_squared_error: number
  readonly mean_absolute_error: number
  readonly root_mean_squared_error: number
  /** 1 − squared errors over squared distances from the mean; NaN where all numbers are one. */
  readonly r2: number
}

export const errorsOf = (
  predicted: ReadonlyArray<number>,
  labels: ReadonlyArray<number>,
): Errors => {
  const n = labels.length
  const mean = labels.reduce((a, b) => a + b, 0) / n
  const squares = labels.reduce((s, y, i) => s + (predicted[i]! - y) ** 2, 0)
  const spread = labels.reduce((s, y) => s + (y - mean) ** 2, 0)
  return {
    mean_squared_error: squares / n,
    mean_absolute_error: labels.reduce((s, y, i) => s + Math.abs(predicted[i]! - y), 0) / n,
    root_mean_squared_error: Math.sqrt(squares / n),
    r2: spread === 0 ? NaN : 1 - squares / spread,
  }
}

/** Stable for any logits. */
export const softmax = (logits: ReadonlyArray<number>): ReadonlyArray<number> => {
  const top = logits.reduce((a, b) => Math.max(a, b), -Infinity)
  const powers = logits.map((x) => Math.exp(x - top))
  const all = powers.reduce((a, b) => a + b, 0)
  return powers.map((p) => p / all)
}
