/** What PEFT calls the trained tensors of an adapted model in a file. */
import type { Program, State } from '../../ir/graph.ts'

export const weightsName = 'adapter_model.safetensors'
const PREFIX = 'base_model.model.'

/** Of a tensor beside the base's own, and of one trained itself. */
export const peftName = (state: string): string => `${PREFIX}${state}`

/** Of the bias of a module that has an adapter: PEFT has wrapped it. */
export const wrappedBias = (module: string): string => `${PREFIX}${module}.base_layer.bias`

export const adapterMatrices = (module: string): readonly [a: string, b: string] => [
  `${PREFIX}${module}.lora_A.weight`,
  `${PREFIX}${module}.lora_B.weight`,
]

/** DoRA's lengths of rows. */
export const magnitudeOf = (module: string): string => `${PREFIX}${module}.lora_magnitude_vector`

export interface Named {
  readonly state: State
  readonly name: string
}

export const isA = (name: string): boolean => name.endsWith('.lora_A.weight')
export const isB = (name: string): boolean => name.endsWith('.lora_B.weight')

/** Modules with an adapter. */
export const adaptedModules = (p: Program): ReadonlyArray<string> =>
  p.state.flatMap((s) => (isB(s.name) ? [s.name.replace(/\.lora_B\.weight$/, '')] : []))

/** Trained tensors with their names in a file. */
export const trainedOf = (p: Program): ReadonlyArray<Named> => {
  const adapted = new Set(adaptedModules(p))
  return p.state
    .filter((s) => s.role === 'train' || s.role === 'held')
    .map((state) => {
      const module = state.name.replace(/\.bias$/, '')
      const wrapped = module !== state.name && adapted.has(module)
      return { state, name: wrapped ? wrappedBias(module) : peftName(state.name) }
    })
}
