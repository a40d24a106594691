/** `generation`: how answers are sampled. */
import {
  either,
  guard,
  numberThat,
  oneOf,
  atLeastZero,
  natural,
  nullable,
  positive,
  section,
  share,
  truth,
  withDefault,
} from './codec.ts'

const strings = guard(
  'a list of texts',
  (u): u is ReadonlyArray<string> =>
    Array.isArray(u) && u.length > 0 && u.every((s) => typeof s === 'string' && s !== ''),
)

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
  /** Sequences weighed against each other for one answer; 1: none but its own. */
  num_beams: withDefault(positive, 1),
  /** Scores of beams are divided by their length to this power. */
  length_penalty: withDefault(
    numberThat('a number', () => true),
    1,
  ),
  /** When beams end: with as many answers as beams, by a guess, or when no better one can come. */
  early_stopping: withDefault(either(truth, oneOf('never')), false),
  /** Above 1, tokens that occurred become less likely. */
  repetition_penalty: withDefault(
    numberThat('a number greater than 0', (n) => n > 0),
    1,
  ),
  /** No sequence of so many tokens occurs twice, the prompt included; 0: any may. */
  no_repeat_ngram_size: withDefault(natural, 0),
  /** Texts that end an answer, and are no part of what is shown of it. */
  stop_strings: withDefault(nullable(strings), null),
})
