/** `generation`: how answers are sampled. */
import {
  atLeastZero,
  natural,
  nullable,
  positive,
  section,
  share,
  truth,
  withDefault,
} from './codec.ts'

export const generation = section({
  /** Null: Ludwig's rule, from the output's length cap, the global cap or half the context. */
  max_new_tokens: withDefault(nullable(positive), null),
  min_new_tokens: withDefault(nullable(natural), null),
  /** False: the most likely token each time. */
  do_sample: withDefault(truth, true),
  temperature: withDefault(atLeastZero, 0.1),
  /** Samples from the k most likely tokens; 0: from all. */
  top_k: withDefault(natural, 50),
  top_p: withDefault(share, 1),
})
