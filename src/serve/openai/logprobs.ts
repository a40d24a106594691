/** Probabilities of tokens in the words of the two APIs. */
import type { Served } from '../model.ts'
import type { Likely, Scored } from '../scores.ts'

const textOf = (m: Served, id: number): string => m.tokenizer.decode([id])

const said = (m: Served, { id, logProb }: Likely) => {
  const token = textOf(m, id)
  // A token that is a part of a character has no text, and its bytes are the tokenizer's secret.
  const bytes = token.includes('\ufffd') ? null : [...Buffer.from(token)]
  return { token, logprob: logProb, bytes }
}

export const chatScores = (m: Served, scores: ReadonlyArray<Scored>) => ({
  content: scores.map((s) => ({ ...said(m, s), top_logprobs: s.top.map((x) => said(m, x)) })),
  refusal: null,
})

/** `from`: where in the text the first of the tokens begins. */
export const completionScores = (
  m: Served,
  scores: ReadonlyArray<Scored>,
  top: number,
  from: number,
) => {
  const tokens = scores.map(({ id }) => textOf(m, id))
  const offsets = tokens.map((_, i) => from + tokens.slice(0, i).join('').length)
  return {
    logprobs: {
      tokens,
      token_logprobs: scores.map((s) => s.logProb),
      top_logprobs:
        top === 0
          ? null
          : scores.map((s) =>
              Object.fromEntries(s.top.map((x) => [textOf(m, x.id), x.logProb] as const)),
            ),
      text_offset: offsets,
    },
    end: from + tokens.join('').length,
  }
}
