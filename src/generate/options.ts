/** What an answer needs besides the model: how its tokens are chosen, when it ends, and how it reads. */
import type { Config } from '../config/schema/config.ts'
import type { ModelSpec } from '../models/spec.ts'
import { maxNewTokens } from '../plan/shapes.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import type { Constraints } from './constraints.ts'
import type { Sampling } from './sample.ts'

/** How several sequences for one prompt are weighed. */
export interface Beams {
  readonly width: number
  /** Scores are divided by the length to this power. */
  readonly lengthPenalty: number
  /** True: as soon as there are as many answers as beams; false: once better ones are unlikely; never: once there can be none. */
  readonly early: boolean | 'never'
}

export interface Stops {
  readonly strings: ReadonlyArray<string>
  /** With special tokens in the text. */
  readonly decode: (ids: ReadonlyArray<number>) => string
}

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
  /** What a sequence forbids its own next token; absent: nothing. */
  readonly constraints?: Constraints
  /** Texts that end an answer of which they are a part. */
  readonly stops?: Stops | null
  /** Absent: one sequence a prompt. */
  readonly beams?: Beams
  /** Whether each token comes with its probability. */
  readonly scored?: boolean
  readonly decode: (ids: ReadonlyArray<number>) => string
}

/** `generation` of a config and its `random_seed`, for a model and its tokenizer. */
export const optionsOf = (c: Config, spec: ModelSpec, tokenizer: Tokenizer): Options => {
  const { do_sample: drawn, temperature, top_k: topK, top_p: topP } = c.generation
  const { num_beams: width, stop_strings: strings } = c.generation
  return {
    sampling: { temperature: drawn ? temperature : 0, topK, topP, seed: c.random_seed },
    maxNew: maxNewTokens(c, spec),
    minNew: c.generation.min_new_tokens ?? 0,
    bosId: tokenizer.bosId,
    eosIds: tokenizer.eosIds.filter((id) => id < spec.vocab),
    vocab: spec.vocab,
    constraints: {
      repetition: c.generation.repetition_penalty,
      ngram: c.generation.no_repeat_ngram_size,
    },
    stops: strings === null ? null : { strings, decode: (ids) => tokenizer.decode(ids) },
    ...(width === 1
      ? {}
      : {
          beams: {
            width,
            lengthPenalty: c.generation.length_penalty,
            early: c.generation.early_stopping,
          },
        }),
    decode: (ids) => tokenizer.decode(ids, { skipSpecial: true }),
  }
}
