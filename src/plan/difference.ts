/** The first place where two JSON values differ, in words. */

export interface Difference {
  /** Dotted; lines of a text by their number from 1. */
  readonly path: string
  readonly is: string
  readonly instead: string
}

const isMap = (v: unknown): v is Readonly<Record<string, unknown>> =>
  typeof v === 'object' && v !== null

const LONGEST = 160

const word = (v: unknown): string => {
  const text = v === undefined ? 'absent' : JSON.stringify(v)
  return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text
}

const lines = (text: string): Readonly<Record<string, unknown>> =>
  Object.fromEntries(text.split('\n').map((line, i) => [`line ${i + 1}`, line]))

/** Of what is, from what it should be; null when they are equal. Keys in the order of what should be. */
export const firstDifference = (is: unknown, should: unknown, path = ''): Difference | null => {
  if (Object.is(is, should)) return null
  const many = [is, should].some((v) => typeof v === 'string' && v.includes('\n'))
  if (typeof is === 'string' && typeof should === 'string' && many)
    return firstDifference(lines(is), lines(should), path)
  if (!isMap(is) || !isMap(should) || Array.isArray(is) !== Array.isArray(should))
    return { path, is: word(is), instead: word(should) }
  for (const key of new Set([...Object.keys(should), ...Object.keys(is)])) {
    const at = path === '' ? key : key.startsWith('line ') ? `${path}, ${key}` : `${path}.${key}`
    const own = (v: object): unknown =>
      Object.hasOwn(v, key) ? (v as Readonly<Record<string, unknown>>)[key] : undefined
    const found = firstDifference(own(is), own(should), at)
    if (found !== null) return found
  }
  return null
}
