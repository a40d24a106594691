/** What is said about a model's answers: counts over scored tokens, and whole answers compared as text. */

/** Sums over any number of micro-batches; add them up before asking for a metric. */
export interface TokenCounts {
  /** Sum over scored tokens of −ln p(token). */
  readonly lossSum: number
  /** Scored tokens whose most likely prediction was right. */
  readonly correct: number
  readonly scored: number
}

export const noTokens: TokenCounts = { lossSum: 0, correct: 0, scored: 0 }

export const addCounts = (a: TokenCounts, b: TokenCounts): TokenCounts => ({
  lossSum: a.lossSum + b.lossSum,
  correct: a.correct + b.correct,
  scored: a.scored + b.scored,
})

/** Mean loss per scored token in nats; NaN without scored tokens. */
export const meanLoss = (counts: TokenCounts): number => counts.lossSum / counts.scored

/** exp(loss) of a mean loss in nats. */
export const perplexity = (loss: number): number => Math.exp(loss)

/** Share of scored tokens predicted right, 0 to 1; NaN without scored tokens. */
export const tokenAccuracy = (counts: TokenCounts): number => counts.correct / counts.scored

/** Equal once white space is trimmed from both ends of both; nothing else is forgiven. */
export const isExactMatch = (answer: string, expected: string): boolean =>
  answer.trim() === expected.trim()

export interface Answer {
  readonly answer: string
  readonly expected: string
}

/** Share of answers that match exactly, 0 to 1; NaN without answers. */
export const exactMatch = (answers: ReadonlyArray<Answer>): number =>
  answers.filter(({ answer, expected }) => isExactMatch(answer, expected)).length / answers.length
