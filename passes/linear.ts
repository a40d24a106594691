/** Which weights are plain linear layers: what an adapter stands beside and what quantization encodes. */
import type { Program, State } from '../ir/graph.ts'
import type { OpName } from '../ir/ops/index.ts'
import { usesOf } from './rewrite.ts'

/** The module a weight belongs to: its name without `.weight`. */
export const moduleOf = (weight: string): string => weight.replace(/\.weight$/, '')

/** Whether an op multiplies by the weight that is its second operand: x·Wᵀ with a W as it is, or of 8-bit integers. */
export const multiplies = (op: OpName): boolean => op === 'dot' || op === 'int8Dot'

/** Matrices that every function only ever multiplies by, x·Wᵀ. Embeddings and the output head are not among them. */
export const linearWeights = (p: Program): ReadonlyArray<State> => {
  const uses = usesOf(p)
  return p.state.filter((s) => {
    const all = uses.get(s.name) ?? []
    return (
      s.type.shape.length === 2 &&
      all.length > 0 &&
      all.every(
        (u) =>
          (u.eqn.op === 'dot' &&
            u.arg === 1 &&
            u.eqn.attrs['tb'] === true &&
            u.eqn.attrs['ta'] === false) ||
          (u.eqn.op === 'int8Dot' && u.arg === 1) ||
          // DoRA reads the lengths of its rows besides.
          (u.eqn.op === 'adaptedNorms' && u.arg === 0),
      )
    )
  })
}
