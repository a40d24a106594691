/** What a run decided beyond its base's files, in the words of those files. */
import { isJson, thetaOf, type Json } from '../models/rope.ts'

export interface Carried {
  /** Linear RoPE scaling that the run was trained with, `model_parameters.rope_scaling`. */
  readonly scaling: { readonly factor: number } | null
  /** The ids that end an answer, first the one it was trained to end with. Empty: the files are not changed. */
  readonly eosIds: ReadonlyArray<number>
  /** Whether head and embedding were one. Null: the files are not changed. */
  readonly tied: boolean | null
}

export const asTheBase: Carried = { scaling: null, eosIds: [], tied: null }

/** The base's wavelengths under linear scaling, in the words of transformers 4 or 5, as the file has them. */
const scaled = (config: Json, factor: number): Json => {
  const rope = { rope_type: 'linear', factor }
  const context = config['max_position_embeddings']
  const { rope_scaling: _, ...others } = config
  return {
    ...(isJson(config['rope_parameters'])
      ? { ...others, rope_parameters: { rope_theta: thetaOf(config), ...rope } }
      : { ...config, rope_theta: thetaOf(config), rope_scaling: rope }),
    ...(typeof context === 'number'
      ? { max_position_embeddings: Math.floor(context * factor) }
      : {}),
  }
}

const listed = (value: unknown): ReadonlyArray<unknown> => (Array.isArray(value) ? value : [value])

/** Of config.json and of generation_config.json alike. */
export const withEnds = (json: Json, { eosIds }: Carried): Json =>
  eosIds.length === 0 || listed(json['eos_token_id']).includes(eosIds[0])
    ? json
    : { ...json, eos_token_id: eosIds.length === 1 ? eosIds[0] : eosIds }

/** A config.json; the same object where it says it all already. */
export const withCarried = (config: Json, carried: Carried): Json => {
  const { scaling, tied } = carried
  const positioned = scaling === null ? config : scaled(config, scaling.factor)
  const ended = withEnds(positioned, carried)
  const says = config['tie_word_embeddings'] ?? false
  return tied === null || tied === says ? ended : { ...ended, tie_word_embeddings: tied }
}
