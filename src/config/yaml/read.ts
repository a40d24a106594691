/** YAML 1.2 text to one document of the yaml library, or every syntax problem with its place. */
import * as E from 'fp-ts/lib/Either.js'
import { Composer, LineCounter, Parser, type CST, type Document, type YAMLError } from 'yaml'

import { issue, one, type Issue, type Issues } from '../../issue.ts'
import { capped } from '../problem.ts'
import { shorten, type Position } from './node.ts'

/** In UTF-16 units; a config is a few thousand. */
const maxLength = 128 * 1024
const maxDepth = 64

export interface Parsed {
  readonly document: Document.Parsed
  readonly locate: (offset: number) => Position
}

/** Deeper nesting than this would overflow the stack of the library's composer. */
const isTooDeep = (tokens: ReadonlyArray<CST.Token>): boolean => {
  let level = tokens
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > maxDepth) return true
    level = level.flatMap(childrenOf)
  }
  return false
}

const childrenOf = (token: CST.Token): ReadonlyArray<CST.Token> => {
  if (token.type === 'document') return token.value ? [token.value] : []
  if (!('items' in token)) return []
  return token.items.flatMap((i) => [i.key, i.value].filter((t) => t !== null && t !== undefined))
}

const tag = (message: string): string =>
  message.replace(/^Unresolved tag: /, '').replace('tag:yaml.org,2002:', '!!')

const friendly = (error: YAMLError): Pick<Issue, 'message' | 'hint'> => {
  switch (error.code) {
    case 'TAB_AS_INDENT':
      return { message: 'a tab is used for indentation', hint: 'indent with spaces' }
    case 'BAD_INDENT':
      return {
        message: 'the indentation does not match the lines around it',
        hint: 'give all keys of one section the same number of leading spaces',
      }
    case 'BLOCK_AS_IMPLICIT_KEY':
      return {
        message: 'a second `key: value` stands on one line',
        hint: 'put the text in quotes, or the inner key on its own, more indented line',
      }
    case 'TAG_RESOLVE_FAILED':
      return { message: `the tag \`${tag(error.message)}\` is not supported`, hint: 'remove it' }
    default:
      return { message: `this is not valid YAML: ${shorten(error.message, 100)}` }
  }
}

/** Left: too large, too deep, empty, several documents, or all syntax errors (the first 20). */
export const readDocument = (text: string, file: string): E.Either<Issues, Parsed> => {
  const top = { file, line: 1, column: 1 }
  if (text.length > maxLength)
    return E.left(
      one(
        issue(`the file is too large for a config: ${text.length} characters`, {
          ...top,
          expected: `at most ${maxLength} characters`,
        }),
      ),
    )
  const counter = new LineCounter()
  const tokens = [...new Parser(counter.addNewLine).parse(text)]
  if (isTooDeep(tokens))
    return E.left(one(issue(`values are nested more than ${maxDepth} levels deep`, top)))
  const locate = (offset: number): Position => {
    const { line, col } = counter.linePos(Math.min(Math.max(offset, 0), text.length))
    return { line: Math.max(line, 1), column: Math.max(col, 1) }
  }
  const composer = new Composer({
    prettyErrors: false,
    schema: 'core',
    resolveKnownTags: false,
    uniqueKeys: false,
  })
  const documents = [...composer.compose(tokens, true, text.length)]
  return checked(documents, locate, file)
}

const checked = (
  documents: ReadonlyArray<Document.Parsed>,
  locate: Parsed['locate'],
  file: string,
): E.Either<Issues, Parsed> => {
  const [document, second] = documents
  if (document === undefined) return E.left(one(issue('the file is empty', { file, line: 1 })))
  const several =
    second === undefined
      ? []
      : [
          issue(`the file holds ${documents.length} YAML documents`, {
            file,
            ...locate(second.range[0]),
            expected: 'one document',
            hint: 'remove the `---` between them',
          }),
        ]
  const [first, ...rest] = [...document.errors, ...document.warnings]
    .map((error) => issue('', { ...friendly(error), file, ...locate(error.pos[0]) }))
    .concat(several)
  return first === undefined ? E.right({ document, locate }) : E.left(capped([first, ...rest]))
}
