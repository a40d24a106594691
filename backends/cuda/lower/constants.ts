/** Constants of all functions: where they lie, and the launches that make them from the state. */
import { aligned } from '../../../passes/memory.ts'
import type { Launch } from '../launch.ts'
import type { Step } from './step.ts'

export interface Constants {
  readonly at: ReadonlyMap<string, number>
  readonly launches: ReadonlyArray<Launch>
  /** State whose change makes them anew. */
  readonly of: ReadonlySet<string>
  /** Byte offset behind them. */
  readonly end: number
}

export const constantsOf = (
  steps: ReadonlyArray<Step>,
  state: (name: string) => number,
  base: number,
): Constants => {
  const all = new Map(steps.flatMap((s) => s.constants ?? []).map((k) => [k.key, k]))
  const at = new Map<string, number>()
  let end = base
  for (const k of all.values()) {
    at.set(k.key, end)
    end += aligned(k.bytes)
  }
  const launches = [...all.values()].flatMap((k) =>
    k.works(state, at.get(k.key)!).map((work): Launch => ({
      ...work,
      rule: 'constants',
      group: 'other',
      covers: [],
    })),
  )
  return { at, launches, of: new Set([...all.values()].flatMap((k) => k.of)), end }
}
