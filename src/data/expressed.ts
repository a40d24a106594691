/** What becomes of an answer on its way through the tokenizer: a normaliser may change it, a vocabulary may lack it. */
import type { Tokenizer } from '../tokenizer/tokenizer.ts'

/** The text as a model that learned it perfectly would give it back: what answers are compared with. */
export const expressed = (tokenizer: Tokenizer, text: string): string =>
  tokenizer.decode(tokenizer.encode(text), { skipSpecial: true })
