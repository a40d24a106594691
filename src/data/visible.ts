/** Text of other people on a terminal: what would move the cursor, colour or turn it is shown by its code. */

/** Control characters, those that set the direction of writing, and halves of surrogate pairs. */
const hidden = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu

export const visible = (text: string): string =>
  text.replace(hidden, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`)
