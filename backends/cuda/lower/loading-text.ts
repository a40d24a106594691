/** Loading as text: for every state what is sent, what runs on it, and what the host makes. */
import type { State } from '../../../ir/graph.ts'
import { show, type Float } from '../../../ir/type.ts'
import type { KernelLaunch } from '../launch.ts'
import { fillingOf, loadingOf, type Loading } from './loading.ts'
import type { Lowered } from './lower.ts'
import { workText } from './text.ts'

/** The dtype in which a file holds what a state starts from; null: the host makes it. */
export type StoredAs = (s: State) => Float | null

interface Made {
  readonly state: State
  readonly how: string
  readonly steps: ReadonlyArray<Loading>
}

const made = (l: Lowered, state: State, storedAs: StoredAs): Made => {
  const port = l.state.get(state.name)!
  const { recipe } = state
  const filled = recipe._tag === 'fill' ? fillingOf(port, recipe.value) : null
  if (recipe._tag === 'fill' && filled !== null)
    return { state, how: `filled with ${recipe.value}`, steps: filled }
  const from = storedAs(state)
  const steps = from === null ? null : loadingOf(l, port, from)
  return steps === null
    ? { state, how: 'made by the host', steps: [] }
    : { state, how: `from ${from}`, steps }
}

const stepText = (s: Loading): string =>
  s._tag === 'send'
    ? `    send ${s.length} bytes from ${s.from} of a buffer to @${s.to}`
    : `    ${workText(s)}`

/** Sources of kernels that only loading runs are in it too. */
export const loadingLaunches = (l: Lowered, storedAs: StoredAs): ReadonlyArray<KernelLaunch> =>
  l.program.state.flatMap((s) =>
    made(l, s, storedAs).steps.flatMap((x) => (x._tag === 'kernel' ? [x] : [])),
  )

export const loadingText = (l: Lowered, storedAs: StoredAs): string =>
  l.program.state
    .map((s) => made(l, s, storedAs))
    .map(({ state, how, steps }) =>
      [
        `  ${state.name}: ${show(state.type)} @${l.state.get(state.name)!.offset}, ${how}`,
        ...steps.map(stepText),
      ].join('\n'),
    )
    .join('\n')
