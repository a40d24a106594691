/** How large an architecture may be: beyond what any model is, a size could not be counted, planned or waited for. */
import { issue, type Issue } from '../issue.ts'
import type { ModelSpec } from './spec.ts'

type Count = 'vocab' | 'hidden' | 'intermediate' | 'layers' | 'heads' | 'headDim' | 'context'

/** Published models stay well below each. */
const most: { readonly [K in Count]: readonly [most: number, what: string] } = {
  vocab: [2 ** 24, 'tokens of the vocabulary (vocab_size)'],
  hidden: [2 ** 18, 'channels (hidden_size)'],
  intermediate: [2 ** 20, 'channels of the MLP (intermediate_size)'],
  layers: [256, 'layers (num_hidden_layers)'],
  heads: [2 ** 12, 'attention heads (num_attention_heads)'],
  headDim: [2 ** 12, 'channels of a head (head_dim)'],
  context: [2 ** 31 - 1, 'positions (max_position_embeddings)'],
}

/** A hundred times the largest; their bytes, gradients and moments included, can still be counted exactly. */
const MOST_PARAMETERS = 2 ** 47

/** Parameters of the matrices; vectors are nothing beside them. */
export const parametersOf = (s: ModelSpec): number =>
  (s.tied ? 1 : 2) * s.vocab * s.hidden +
  s.layers * s.hidden * (2 * s.heads * s.headDim + 2 * s.kvHeads * s.headDim + 3 * s.intermediate)

/** The first size that nothing could be computed with; null: all are sound. */
export const beyondBounds = (s: ModelSpec): Issue | null => {
  for (const [key, [limit, what]] of Object.entries(most) as Array<[Count, (typeof most)[Count]]>)
    if (s[key] > limit)
      return issue(`the model has ${s[key]} ${what}`, {
        expected: `at most ${limit}`,
        hint: 'no model is so large: look at its config.json',
      })
  return parametersOf(s) > MOST_PARAMETERS
    ? issue(`the model has ${parametersOf(s).toExponential(1)} parameters`, {
        expected: `at most ${MOST_PARAMETERS.toExponential(1)}`,
        hint: 'no model is so large: look at the sizes in its config.json',
      })
    : null
}
