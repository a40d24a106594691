/** Text from files, models and names, made fit for a terminal: what would move its cursor or turn text around is shown as a code. */

/** Controls but tab and line feed; marks that reorder or split lines; halves of surrogate pairs. */
const hidden = /(?![\t\n])[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\p{Cs}]/gu

/** As JSON and most languages write it, so that JSON stays JSON. */
const code = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`

/** The same text with nothing in it that a terminal obeys. */
export const visible = (text: string): string => text.replace(hidden, code)

/** The same, but for the emphasis that `style` writes. */
export const visibleStyled = (text: string, emphasis: RegExp): string => {
  const kept = text.match(emphasis) ?? []
  return text
    .split(emphasis)
    .map((part, i) => visible(part) + (kept[i] ?? ''))
    .join('')
}
