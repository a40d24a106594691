/** JSON read strictly: what `JSON.parse` would let pass in silence (repeated keys, rounded numbers) is an issue. */
import * as E from 'fp-ts/lib/Either.js'
import { type Issue, issue } from '../issue.ts'

export interface JsonRules {
  /** Arrays and objects inside one another, counted from 1. */
  readonly maxDepth: number
  /** Every number must be a run of digits: no sign, point or exponent. */
  readonly onlyCounts: boolean
}

/** An open array (no keys) or object, with the key read last. */
type Frame = { readonly keys: Set<string> | undefined; key: string }

const space = /\s/

/** Index of the quote that closes the string opened at `start`, or the text's length. */
const endOfString = (text: string, start: number): number => {
  for (let at = start + 1; at < text.length; at++) {
    const char = text[at]
    if (char === '"') return at
    if (char === '\\') at++
  }
  return text.length
}

const skipSpace = (text: string, start: number): number => {
  let at = start
  while (at < text.length && space.test(text[at] ?? '')) at++
  return at
}

/** The string that a literal stands for; a malformed one stands for itself, since `JSON.parse` refuses it later. */
const decode = (literal: string): string =>
  literal.includes('\\')
    ? E.getOrElse(() => literal)(E.tryCatch(() => String(JSON.parse(literal)), String))
    : literal.slice(1, -1)

const endOfNumber = (text: string, start: number): number => {
  let at = start
  while (at < text.length && /[-+.\deE]/.test(text[at] ?? '')) at++
  return at
}

/** A piece of the file as one short line of a message. */
const cut = (text: string): string => {
  const line = text.slice(0, 60).replaceAll(/[\p{Cc}\p{Surrogate}]+/gu, ' ')
  return text.length > 60 ? `${line}…` : line
}

const inside = (frames: ReadonlyArray<Frame>): Pick<Issue, 'path'> => {
  const key = frames[0]?.key
  return key === undefined || key === '' ? {} : { path: key }
}

/** Takes note of a string if it is a key. */
const repeats = (frame: Frame, text: string, start: number, end: number): boolean => {
  if (!frame.keys || text[skipSpace(text, end + 1)] !== ':') return false
  frame.key = decode(text.slice(start, end + 1))
  const again = frame.keys.has(frame.key)
  frame.keys.add(frame.key)
  return again
}

/** The first breach of the rules; it may be any on text that is not JSON, and never throws. */
const breach = (text: string, { maxDepth, onlyCounts }: JsonRules): Issue | undefined => {
  const frames: Array<Frame> = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? ''
    const frame = frames.at(-1)
    if (char === '{' || char === '[') {
      frames.push({ keys: char === '{' ? new Set() : undefined, key: '' })
      if (frames.length > maxDepth)
        return issue(`the JSON is nested deeper than ${maxDepth} levels`, inside(frames))
    } else if (char === '}' || char === ']') {
      frames.pop()
    } else if (char === '"') {
      const end = endOfString(text, at)
      if (frame && repeats(frame, text, at, end))
        return issue(`the key \`${cut(frame.key)}\` is written twice`, inside(frames))
      at = end
    } else if (onlyCounts && /[-\d]/.test(char)) {
      const end = endOfNumber(text, at)
      const number = text.slice(at, end)
      if (!/^\d{1,16}$/.test(number))
        return issue(`the number ${cut(number)} is not a plain count`, {
          expected: 'digits only, below 2^53',
          ...inside(frames),
        })
      at = end - 1
    }
  }
  return undefined
}

/** The value of `text`. Left: the breach of the rules or what `JSON.parse` says; `path` is the top-level key. */
export const parseJson = (text: string, rules: JsonRules): E.Either<Issue, unknown> => {
  const found = breach(text, rules)
  if (found) return E.left(found)
  return E.tryCatch(
    (): unknown => JSON.parse(text),
    (e) => issue(`the text is not JSON: ${cut(e instanceof Error ? e.message : String(e))}`),
  )
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)
