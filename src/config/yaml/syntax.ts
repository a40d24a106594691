/** The YAML library's syntax errors in plain words, without those that only follow from others. */
import type { CST, Document, ErrorCode, YAMLError } from 'yaml'

import { shorten } from './node.ts'

export interface SyntaxProblem {
  readonly message: string
  readonly hint?: string
  /** Into the text, in UTF-16 units. */
  readonly offset: number
}

/** The tokens directly within a token. */
export const childrenOf = (token: CST.Token): ReadonlyArray<CST.Token> => {
  if (token.type === 'document') return token.value ? [token.value] : []
  if (!('items' in token)) return []
  return token.items.flatMap((i) => [i.key, i.value].filter((t) => t !== null && t !== undefined))
}

const endOf = (token: CST.Token): number =>
  token.offset + ('source' in token ? token.source.length : 0)

/** Where quoted scalars begin, by where they end: one walk, for a file may hold thousands that are not closed. */
const startsOfScalars = (tokens: ReadonlyArray<CST.Token>): ReadonlyMap<number, number> => {
  const starts = new Map<number, number>()
  for (let level = tokens; level.length > 0; level = level.flatMap(childrenOf))
    for (const t of level)
      if (t.type.endsWith('quoted-scalar') && !starts.has(endOf(t))) starts.set(endOf(t), t.offset)
  return starts
}

const tag = (message: string): string =>
  shorten(message.replace(/^Unresolved tag: /, '').replace('tag:yaml.org,2002:', '!!'), 60)

const plain = ({ code, message }: YAMLError): Omit<SyntaxProblem, 'offset'> => {
  if (message.startsWith('Missing closing'))
    return { message: 'a quoted text is not closed', hint: 'end it with the same quote' }
  if (/^Flow \w+ (in|must end)/.test(message))
    return { message: 'a `[` or `{` is not closed', hint: 'end it with `]` or `}`' }
  switch (code) {
    case 'TAB_AS_INDENT':
      return { message: 'a tab is used for indentation', hint: 'indent with spaces' }
    case 'BAD_INDENT':
      return {
        message: 'the indentation does not match the lines around it',
        hint: 'give all keys of one section the same number of leading spaces',
      }
    case 'UNEXPECTED_TOKEN':
      return {
        message: 'this does not fit what stands before it',
        hint: 'look at the indentation, the quotes and the brackets of the lines above',
      }
    case 'BLOCK_AS_IMPLICIT_KEY':
      return {
        message: 'a second `key: value` stands on one line',
        hint: 'put the text in quotes, or the inner key on its own, more indented line',
      }
    case 'TAG_RESOLVE_FAILED':
      return { message: `the tag \`${tag(message)}\` is not supported`, hint: 'remove it' }
    default:
      return { message: `this is not valid YAML: ${shorten(message, 100)}` }
  }
}

const misleading: ReadonlySet<ErrorCode> = new Set(['BAD_INDENT', 'UNEXPECTED_TOKEN'])

/** After one of these the library takes what follows for something else. */
const withoutEchoes = (errors: ReadonlyArray<YAMLError>): ReadonlyArray<YAMLError> => {
  const tabs = errors.filter((e) => e.code === 'TAB_AS_INDENT')
  const firstBad = errors.findIndex((e) => misleading.has(e.code))
  if (tabs.length > 0) return tabs
  return firstBad < 0 ? errors : errors.slice(0, firstBad + 1)
}

const meaningful: ReadonlySet<ErrorCode> = new Set(['TAG_RESOLVE_FAILED', 'BAD_DIRECTIVE'])

export const syntaxProblems = (
  document: Document.Parsed,
  tokens: ReadonlyArray<CST.Token>,
): ReadonlyArray<SyntaxProblem> => {
  const warnings = document.warnings.filter((w) => meaningful.has(w.code))
  const starts = startsOfScalars(tokens)
  return [...withoutEchoes(document.errors), ...warnings].map((error) => {
    const said = plain(error)
    const [at] = error.pos
    const isQuote = error.message.startsWith('Missing closing')
    return { ...said, offset: isQuote ? (starts.get(at) ?? at) : at }
  })
}
