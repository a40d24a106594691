/** The text of an answer while its tokens come: only what later tokens cannot change is given out, and nothing of a stop string. */

/** Ids to text, as for a whole answer. */
export type Decode = (ids: ReadonlyArray<number>) => string

export interface Growing {
  /** Takes a token; what of the text is certain and new, and whether a stop string is complete. */
  readonly add: (id: number) => { readonly more: string; readonly stopped: boolean }
  /** What is left once no token comes any more. */
  readonly rest: () => string
  /** All that was given out. */
  readonly text: () => string
}

/** Characters at the end of a text that may be the beginning of a stop string. */
const undecided = (text: string, stops: ReadonlyArray<string>): number => {
  const longest = stops.reduce((m, s) => Math.max(m, s.length - 1), 0)
  for (let n = Math.min(longest, text.length); n > 0; n--)
    if (stops.some((s) => s.startsWith(text.slice(text.length - n)))) return n
  return 0
}

/** Where the first stop string begins, the leftmost of several; −1: nowhere. */
const stopIn = (text: string, stops: ReadonlyArray<string>): number =>
  stops.reduce((first, s) => {
    const at = text.indexOf(s)
    return at < 0 || (first >= 0 && first < at) ? first : at
  }, -1)

/** What an unfinished character of several tokens is shown as. */
const UNFINISHED = '\ufffd'

/**
 * Text grows by windows of tokens: a window's text less that of its older tokens is new. Older tokens stand before it
 * because a decoder may treat the first token of a text otherwise, as SentencePiece's does with its space.
 */
const windows = (decode: Decode) => {
  let [older, window]: [Array<number>, Array<number>] = [[], []]
  return (id: number | null): string => {
    if (id !== null) window.push(id)
    const before = decode(older)
    const whole = decode([...older, ...window])
    const unsaid = whole.length <= before.length || whole.endsWith(UNFINISHED)
    if (id !== null && unsaid) return ''
    ;[older, window] = [window, []]
    return whole.slice(before.length)
  }
}

export const growing = (decode: Decode, stops: ReadonlyArray<string> = []): Growing => {
  const next = windows(decode)
  let [given, held, ended] = ['', '', false]
  const give = (text: string): string => {
    given += text
    return text
  }
  /** `held` is what came and was not given out; all of it where no more comes. */
  const release = (last: boolean): { readonly more: string; readonly stopped: boolean } => {
    const at = stopIn(held, stops)
    if (at >= 0) {
      ended = true
      return { more: give(held.slice(0, at)), stopped: true }
    }
    const keep = last ? 0 : undecided(held, stops)
    const more = give(held.slice(0, held.length - keep))
    held = held.slice(held.length - keep)
    return { more, stopped: false }
  }
  return {
    add: (id) => {
      held += next(id)
      return release(false)
    },
    rest: () => {
      if (ended) return ''
      held += next(null)
      return release(true).more
    },
    text: () => given,
  }
}
