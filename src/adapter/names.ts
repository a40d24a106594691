/** What PEFT calls the trained tensors of an adapted model in a file. */
import type { Program, State } from '../../ir/graph.ts'
import { isVector, takesInput } from '../../passes/ia3.ts'
import type { Adapter } from './config.ts'

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

export const vectorOf = (module: string): string => `${PREFIX}${module}.ia3_l`

export interface Named {
  readonly state: State
  readonly name: string
  /** In the file. */
  readonly shape: ReadonlyArray<number>
}

export const isA = (name: string): boolean => name.endsWith('.lora_A.weight')
export const isB = (name: string): boolean => name.endsWith('.lora_B.weight')

/** Modules with an adapter. */
export const adaptedModules = (p: Program): ReadonlyArray<string> =>
  p.state.flatMap((s) => (isB(s.name) ? [s.name.replace(/\.lora_B\.weight$/, '')] : []))

/** IA³'s vectors are matrices of one row, or of one column where they multiply outputs. */
const shapeOf = ({ name, type }: State, o: Adapter): ReadonlyArray<number> => {
  if (o.kind !== 'ia3' || !isVector(name)) return type.shape
  return takesInput(o)(name.replace(/\.ia3_l$/, '')) ? [1, type.shape[0]!] : [type.shape[0]!, 1]
}

/** Trained tensors as a file has them. */
export const trainedOf = (p: Program, o: Adapter): ReadonlyArray<Named> => {
  const adapted = new Set(adaptedModules(p))
  return p.state
    .filter((s) => s.role === 'train' || s.role === 'held')
    .map((state) => {
      const module = state.name.replace(/\.bias$/, '')
      const wrapped = module !== state.name && adapted.has(module)
      const name = wrapped ? wrappedBias(module) : peftName(state.name)
      return { state, name, shape: shapeOf(state, o) }
    })
}
