/** What the engine is asked: a prompt, how its tokens are chosen, and who takes them. */
import type { Issue } from '../issue.ts'
import type { Constraints } from '../generate/constraints.ts'
import type { Sampling } from '../generate/sample.ts'

/** Why a sequence ended. `stop`: whoever takes its tokens had enough. */
export type Ended =
  | { readonly _tag: 'eos' | 'length' | 'stop' | 'cancelled' }
  | { readonly _tag: 'failed'; readonly issue: Issue }

/** How scores are changed before a token is chosen. */
export interface Adjust {
  /** Added to the scores of ids. */
  readonly bias: ReadonlyMap<number, number>
  /** Taken from the score of an id that was chosen, once, and once for each time. */
  readonly presence: number
  readonly frequency: number
}

export const unadjusted: Adjust = { bias: new Map(), presence: 0, frequency: 0 }

export interface Work {
  readonly prompt: ReadonlyArray<number>
  /** Its draws are seeded by it and by the sampling's seed, whatever it shares a batch with. */
  readonly sequence: number
  readonly sampling: Sampling
  readonly adjust: Adjust
  /** What the config's `generation` forbids; absent: nothing. */
  readonly constraints?: Constraints
  /** No end before this many tokens. */
  readonly minNew: number
  readonly eosIds: ReadonlyArray<number>
  /** Most tokens of the answer; what the cache has no place for is not made. */
  readonly limit: number
  /** Whether `take` looks at scores. */
  readonly wantsScores: boolean
  /** Takes a token, with the model's scores of all where they are wanted; true: that was enough. */
  readonly take: (id: number, scores: Float32Array | null) => boolean
  /** Called once, after the last token. */
  readonly end: (why: Ended) => void
}
