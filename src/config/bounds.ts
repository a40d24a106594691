/** How large a size may be, and why it ends there: beyond, nothing could be counted, held or waited for. */

export interface Bound {
  readonly most: number
  readonly why: string
}

export const rowLength: Bound = { most: 2 ** 20, why: 'the longest row that is planned' }
export const rows: Bound = { most: 2 ** 16, why: 'the most rows of one micro-step' }
/** The widest matrices of the largest models have fewer rows and columns than this. */
export const rank: Bound = { most: 2 ** 16, why: 'no matrix of a model has a higher rank' }

/** Finishes the sentence "expected …". */
export const within = ({ most, why }: Bound): string => `a whole number from 1 to ${most} (${why})`

export const isWithin = ({ most }: Bound, n: number): boolean =>
  Number.isSafeInteger(n) && n >= 1 && n <= most
