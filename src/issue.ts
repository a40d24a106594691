/** A problem that a person can mend: what, where, what was expected, and how to put it right. */

export interface Issue {
  /** What is wrong, one sentence without a full stop. */
  readonly message: string
  /** The file it stands in. */
  readonly file?: string
  /** 1-based position in that file. */
  readonly line?: number
  readonly column?: number
  /** The key or tensor concerned, dotted: `trainer.learning_rate`. */
  readonly path?: string
  readonly expected?: string
  /** How to mend it. */
  readonly hint?: string
}

export type Issues = readonly [Issue, ...Issue[]]

export const issue = (message: string, more: Omit<Issue, 'message'> = {}): Issue => ({
  message,
  ...more,
})

/** For functions that fail with one issue where callers collect many. */
export const one = (i: Issue): Issues => [i]
