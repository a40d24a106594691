/** What an answer needs besides the model: how its tokens are chosen, when it ends, and how it reads. */
import type { Config } from '../config/schema/config.ts'
import type { ModelSpec } from '../models/spec.ts'
import { maxNewTokens } from '../plan/shapes.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Sampling } from './sample.ts'

export interface Options {
  readonly sampling: Sampling
  /** Tokens of an answer, its end not counted. */
  readonly maxNew: number
  /** No end before this many. */
  readonly minNew: number
  /** What begins a prompt, also one that is cut. */
  readonly bosId: number | null
  /** Ids that end an answer. */
  readonly eosIds: ReadonlyArray<number>
  /** Ids the model knows are below this. */
  readonly vocab: number
  /** Whether each token comes with its probability. */
  readonly scored?: boolean
  readonly decode: (ids: ReadonlyArray<number>) => string
}

/** `generation` of a config and its `random_seed`, for a model and its tokenizer. */
export const optionsOf = (c: Config, spec: ModelSpec, tokenizer: Tokenizer): Options => {
  const { do_sample: drawn, temperature, top_k: topK, top_p: topP } = c.generation
  return {
    sampling: { temperature: drawn ? temperature : 0, topK, topP, seed: c.random_seed },
    maxNew: maxNewTokens(c, spec),
    minNew: c.generation.min_new_tokens ?? 0,
    bosId: tokenizer.bosId,
    eosIds: tokenizer.eosIds.filter((id) => id < spec.vocab),
    vocab: spec.vocab,
    decode: (ids) => tokenizer.decode(ids, { skipSpecial: true }),
  }
}
