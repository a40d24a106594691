/** What a check over the whole config is: the keys it reads, and what it finds wrong. */
import type { Problem } from '../problem.ts'
import type { Config } from '../schema/config.ts'
import type { Path } from '../yaml/node.ts'

/** Whether the file itself holds this key with a value other than null. */
export type Given = (path: string) => boolean

export interface Check {
  /** Dotted keys; the check is left out when one of them is wrong already. */
  readonly reads: ReadonlyArray<string>
  readonly find: (config: Config, given: Given) => ReadonlyArray<Problem>
}

export const pathOf = (dotted: string): Path =>
  dotted.split(/\.|\[(\d+)\]/).filter((key) => key !== undefined && key !== '')

export const problem = (dotted: string, message: string, hint?: string): Problem => ({
  message,
  path: pathOf(dotted),
  ...(hint === undefined ? {} : { hint }),
})

export const when = (wrong: boolean, found: () => Problem): ReadonlyArray<Problem> =>
  wrong ? [found()] : []
