/** Where the parts of JSON text begin and end, also where a value between them is not JSON. */
import * as E from 'fp-ts/lib/Either.js'

/** A piece of a text, by its place in it. */
export interface Span {
  readonly from: number
  readonly to: number
}

const blanks = /[ \t\r\n]*/y

/** The first place from `at` on that is not blank. */
export const skipBlanks = (text: string, at: number): number => {
  blanks.lastIndex = at
  return blanks.test(text) ? blanks.lastIndex : at
}

/** Behind the quote that closes the one at `at`; undefined: it is never closed. */
export const stringEnd = (text: string, at: number): number | undefined => {
  for (let end = text.indexOf('"', at + 1); end >= 0; end = text.indexOf('"', end + 1)) {
    let slashes = 0
    while (text[end - 1 - slashes] === '\\') slashes++
    if (slashes % 2 === 0) return end + 1
  }
  return undefined
}

const mark = /["[\]{},]/g

/** The comma or bracket that ends the value at `at`, whatever it holds; the text's end when there is none. */
export const valueEnd = (text: string, at: number): number => {
  let depth = 0
  mark.lastIndex = at
  for (let found = mark.exec(text); found !== null; found = mark.exec(text)) {
    const { 0: char, index } = found
    if (char === '"') {
      const end = stringEnd(text, index)
      if (end === undefined) return text.length
      mark.lastIndex = end
    } else if (char === '[' || char === '{') depth++
    else if (depth === 0) return index
    else if (char !== ',') depth--
  }
  return text.length
}

export interface Items<A> {
  readonly items: ReadonlyArray<A>
  /** Behind the closing bracket. */
  readonly end: number
}

/** What is wrong, and where. */
export interface Fault {
  readonly what: string
  readonly at: number
}

const fault = (what: string, at: number): E.Either<Fault, never> => E.left({ what, at })

/** A value with the blanks around it left out. */
const trimmed = (text: string, from: number, to: number): Span => {
  let end = to
  while (end > from && ' \t\r\n'.includes(text[end - 1]!)) end--
  return { from: skipBlanks(text, from), to: Math.max(end, skipBlanks(text, from)) }
}

/** The values between the bracket at `at` and the one that closes it; `item` reads what stands before a value. */
const listed = <A>(
  text: string,
  at: number,
  close: ']' | '}',
  item: (from: number) => E.Either<Fault, readonly [(value: Span) => A, number]>,
): E.Either<Fault, Items<A>> => {
  const items: Array<A> = []
  let from = skipBlanks(text, at + 1)
  if (text[from] === close) return E.right({ items, end: from + 1 })
  for (;;) {
    const read = item(from)
    if (E.isLeft(read)) return read
    const [make, start] = read.right
    const to = valueEnd(text, start)
    if (to === text.length) return fault(`is never closed: \`${close}\` is missing`, at)
    items.push(make(trimmed(text, start, to)))
    if (text[to] === close) return E.right({ items, end: to + 1 })
    if (text[to] !== ',')
      return fault(`has \`${text[to]}\` where \`,\` or \`${close}\` belongs`, to)
    from = skipBlanks(text, to + 1)
  }
}

/** The elements of the array that opens at `at`. */
export const elements = (text: string, at: number): E.Either<Fault, Items<Span>> =>
  listed(text, at, ']', (from) => E.right([(value) => value, from]))

/** A key, and where its value stands. */
export interface Member {
  readonly key: string
  readonly value: Span
}

const keyAt = (text: string, from: number): E.Either<Fault, readonly [string, number]> => {
  const end = text[from] === '"' ? stringEnd(text, from) : undefined
  if (end === undefined) return fault('lacks a key in double quotes', from)
  return E.tryCatch(
    () => [JSON.parse(text.slice(from, end)) as string, end] as const,
    () => ({ what: 'has a key with a character or an escape that JSON does not allow', at: from }),
  )
}

/** The keys of the object that opens at `at` and where their values stand, repeated keys and unreadable values included. */
export const members = (text: string, at: number): E.Either<Fault, Items<Member>> =>
  listed(text, at, '}', (from) => {
    const read = keyAt(text, from)
    if (E.isLeft(read)) return read
    const [key, end] = read.right
    const colon = skipBlanks(text, end)
    return text[colon] === ':'
      ? E.right([(value: Span): Member => ({ key, value }), colon + 1] as const)
      : fault(`lacks a \`:\` after the key ${JSON.stringify(key)}`, colon)
  })

/** Tells the 1-based line of a place in the text. */
export const linesOf = (text: string): ((at: number) => number) => {
  const starts = [0, ...Array.from(text.matchAll(/\r\n|\n|\r/g), (m) => m.index + m[0].length)]
  return (at) => {
    let [low, high] = [0, starts.length]
    while (high - low > 1) {
      const middle = (low + high) >> 1
      if (starts[middle]! <= at) low = middle
      else high = middle
    }
    return low + 1
  }
}
