/** Python `str.format` templates, read into literals and named fields as Ludwig's prompts use them. */
import * as E from 'fp-ts/lib/Either.js'

export type TemplatePart =
  | { readonly literal: string }
  | { readonly field: string; readonly spec: string }

/** Ludwig's name for a column or feature: each of `( ) { } . : " ' [ ]` becomes `_`. Wherever one is named, it is by this. */
export const columnName = (name: string): string => name.replace(/[(){}.:"'[\]]/g, '_')

type Field = { readonly part: TemplatePart; readonly end: number }

const doubled = 'to write a literal brace, double it: `{{` or `}}`'

/** The whole `{…}` that starts at `start`, cut short for a message. */
const excerpt = (text: string, start: number): string => {
  const close = text.indexOf('}', start)
  const whole = text.slice(start, close < 0 ? text.length : close + 1)
  const line = whole.split(/\r?\n/)[0] ?? ''
  return line.length > 30 || line !== whole ? `${line.slice(0, 30)}…` : whole
}

const checkName = (name: string, shown: string): E.Either<string, string> => {
  if (name === '')
    return E.left(`the placeholder \`${shown}\` names no column; write \`{column_name}\``)
  if (/^\d+$/.test(name))
    return E.left(`the placeholder \`${shown}\` is a position; placeholders name a column`)
  const odd = /[.[\]{]/.exec(name)
  const column = /^\p{L}/u.test(name)
    ? `a column of this name is written \`{${columnName(name)}}\`; `
    : ''
  return odd
    ? E.left(
        `the placeholder \`${shown}\` has \`${odd[0]}\` in its name: attributes, indices and nested ` +
          `placeholders are not supported; ${column}${doubled}`,
      )
    : E.right(name)
}

/** Reads the field whose opening brace stands at `start`. */
const readField = (text: string, start: number): E.Either<string, Field> => {
  const shown = excerpt(text, start)
  const close = text.indexOf('}', start)
  if (close < 0) return E.left(`the placeholder \`${shown}\` has no closing \`}\`; ${doubled}`)
  const inner = text.slice(start + 1, close)
  const colon = inner.indexOf(':')
  const name = colon < 0 ? inner : inner.slice(0, colon)
  const spec = colon < 0 ? '' : inner.slice(colon + 1)
  if (name.includes('!'))
    return E.left(`the placeholder \`${shown}\` has a conversion \`!\`, which is not supported`)
  if (spec.includes('{'))
    return E.left(`the placeholder \`${shown}\` has a brace in its format; ${doubled}`)
  return E.map((field: string): Field => ({ part: { field, spec }, end: close + 1 }))(
    checkName(name, shown),
  )
}

/**
 * Literals (with `{{` and `}}` undone, neighbours joined, never empty) and fields in order.
 * Left: one sentence on the first placeholder that Python's `str.format` or Ludwig refuses.
 */
export const parseTemplate = (text: string): E.Either<string, ReadonlyArray<TemplatePart>> => {
  const parts: Array<TemplatePart> = []
  let literal = ''
  let at = 0
  while (at < text.length) {
    const char = text[at] ?? ''
    const isBrace = char === '{' || char === '}'
    if (!isBrace || text[at + 1] === char) {
      literal += char
      at += isBrace ? 2 : 1
    } else if (char === '}') {
      return E.left(`a \`}\` at character ${at + 1} closes no placeholder; ${doubled}`)
    } else {
      const field = readField(text, at)
      if (E.isLeft(field)) return field
      if (literal !== '') parts.push({ literal })
      literal = ''
      parts.push(field.right.part)
      at = field.right.end
    }
  }
  return E.right(literal === '' ? parts : [...parts, { literal }])
}

/** As `parseTemplate`, with every field by its `columnName`, which is how a table knows its columns. */
export const readTemplate = (text: string): E.Either<string, ReadonlyArray<TemplatePart>> =>
  E.map((parts: ReadonlyArray<TemplatePart>) =>
    parts.map((part) => ('field' in part ? { ...part, field: columnName(part.field) } : part)),
  )(parseTemplate(text))
