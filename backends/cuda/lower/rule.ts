/** What a fusion rule is: it looks at a function and proposes steps, each standing for several equations. */
import type { Context } from './context.ts'
import type { Join, Step } from './step.ts'

export interface Proposal {
  readonly steps: ReadonlyArray<Step>
  readonly joins: ReadonlyArray<Join>
}

export interface Rule {
  readonly name: string
  /** Before → after, in one line. */
  readonly doc: string
  readonly propose: (c: Context) => ReadonlyArray<Proposal>
}

export const steps = (...list: ReadonlyArray<Step>): Proposal => ({ steps: list, joins: [] })
