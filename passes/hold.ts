/** `layers_to_freeze_regex`: tensors whose name matches stay as they are: no gradient, no optimizer state, saved with the rest. */
import * as E from 'fp-ts/lib/Either.js'
import type { State } from '../ir/graph.ts'
import { unsupported } from '../ir/reason.ts'
import type { Pass } from './pass.ts'

/** PyTorch's name of a parameter in the model that Ludwig trains. */
export const parameterName = (state: string): string => {
  const [, adapter, weight = ''] =
    /^(.*\.(?:lora_[AB]|lora_magnitude_vector|ia3_l))(\.weight)?$/.exec(state) ?? []
  if (adapter === undefined) return `model.${state}`
  // A magnitude is a module's weight, whatever PEFT calls it in files.
  const tail = adapter.endsWith('_vector') ? '.weight' : weight
  return `model.base_model.model.${adapter}.default${tail}`
}

/** Of many names a first few. */
const some = (names: ReadonlyArray<string>): ReadonlyArray<string> =>
  names.length > 4 ? [...names.slice(0, 4), `${names.length - 4} more`] : names

const isA = (s: State): boolean => s.name.endsWith('.lora_A.weight')

/** A B that an initialization has filled: its A learns from the first step on. */
const begun = (s: State): boolean => s.name.endsWith('.lora_B.weight') && s.recipe._tag !== 'fill'

/** A search, not a match of the whole name, as Python's `re.search`. */
export const hold = (pattern: string): Pass => ({
  name: `hold(${JSON.stringify(pattern)})`,
  keeps: 'exact',
  run: (p) => {
    const regex = new RegExp(pattern)
    const train = p.state.filter((s) => s.role === 'train')
    const held = train.filter((s) => regex.test(parameterName(s.name)))
    if (held.length === 0)
      return E.left({
        _tag: 'NoMatch',
        target: `layers_to_freeze_regex ${JSON.stringify(pattern)}`,
        known: some(train.map((s) => parameterName(s.name))),
      })
    if (held.length === train.length)
      return E.left(
        unsupported(`layers_to_freeze_regex ${JSON.stringify(pattern)} leaves nothing to train`),
      )
    // Its gradient is by B, which begins as zeros.
    if (train.every((s) => held.includes(s) || isA(s)) && !train.some(begun))
      return E.left(
        unsupported(
          `layers_to_freeze_regex ${JSON.stringify(pattern)} holds every lora_B, and these begin as zeros: nothing would be learned`,
        ),
      )
    const names = new Set(held.map((s) => s.name))
    return E.right({
      ...p,
      state: p.state.map((s): State => (names.has(s.name) ? { ...s, role: 'held' } : s)),
    })
  },
})
