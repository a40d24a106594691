/** Emphasis for terminals: plain text everywhere else. */

export interface Style {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly red: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly blue: (text: string) => string
}

const same = (text: string): string => text

export const plain: Style = {
  bold: same,
  dim: same,
  red: same,
  green: same,
  yellow: same,
  blue: same,
}

const ESCAPE = '\u001b'

const sgr =
  (on: number, off: number) =>
  (text: string): string =>
    text === '' ? '' : `${ESCAPE}[${on}m${text}${ESCAPE}[${off}m`

export const coloured: Style = {
  bold: sgr(1, 22),
  dim: sgr(2, 22),
  red: sgr(31, 39),
  green: sgr(32, 39),
  yellow: sgr(33, 39),
  blue: sgr(34, 39),
}

/** What `coloured` writes around text, and nothing else. */
export const emphasis = new RegExp(`${ESCAPE}\\[(?:1|2|22|31|32|33|34|39)m`, 'g')
