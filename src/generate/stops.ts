/** Whether the newest token of a sequence completes one of the strings that end an answer; it may reach beyond it. */

import type { Options } from './options.ts'

/** A token may hold a single byte of a character; two tokens more, whose text is not looked at, keep spaces as they are within a text. */
const windowFor = (strings: ReadonlyArray<string>): number =>
  strings.reduce((n, s) => Math.max(n, Buffer.byteLength(s)), 0) + 2

const common = (a: string, b: string): number => {
  let n = 0
  while (n < a.length && a[n] === b[n]) n++
  return n
}

/** `ids` with their prompt, in which a string may begin, as in transformers. */
export const endsWithStop = (
  ids: ReadonlyArray<number>,
  { stops = null }: Pick<Options, 'stops'>,
): boolean => {
  if (stops === null || ids.length === 0) return false
  const { strings, decode } = stops
  const near = ids.slice(-windowFor(strings))
  const text = decode(near)
  // What a character begun by earlier tokens looked like is not what it is now.
  const known = common(decode(near.slice(0, -1)), text)
  return strings.some((s) => {
    const at = text.lastIndexOf(s)
    return at >= 0 && at + s.length > known
  })
}

/** A text up to where the first string begins. */
export const beforeStop = (text: string, { stops = null }: Pick<Options, 'stops'>): string =>
  (stops?.strings ?? []).reduce((cut, s) => {
    const at = text.indexOf(s)
    return at >= 0 && at < cut.length ? text.slice(0, at) : cut
  }, text)
