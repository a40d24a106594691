/** YAML 1.2 text to one document of the yaml library, or every syntax problem with its place. */
import * as E from 'fp-ts/lib/Either.js'
import { Composer, Parser, type CST, type Document } from 'yaml'

import { issue, one, type Issue, type Issues } from '../../issue.ts'
import { capped } from '../problem.ts'
import type { Position } from './node.ts'
import { childrenOf, syntaxProblems } from './syntax.ts'

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

/** The library's own line counter misses the line breaks of some broken block scalars. */
const locator = (text: string): Parsed['locate'] => {
  const starts = [0, ...[...text.matchAll(/\n/g)].map((found) => found.index + 1)]
  return (offset) => {
    const at = Math.min(Math.max(offset, 0), text.length)
    let [line, after] = [1, starts.length + 1]
    while (after - line > 1) {
      const middle = (line + after) >> 1
      if ((starts[middle - 1] ?? 0) <= at) line = middle
      else after = middle
    }
    return { line, column: at - (starts[line - 1] ?? 0) + 1 }
  }
}

const compose = (
  tokens: ReadonlyArray<CST.Token>,
  length: number,
): ReadonlyArray<Document.Parsed> => {
  const composer = new Composer({
    prettyErrors: false,
    schema: 'core',
    resolveKnownTags: false,
    uniqueKeys: false,
  })
  return [...composer.compose(tokens, true, length)]
}

/** Left: too large, too deep, several documents, or what is wrong with the syntax. */
export const readDocument = (text: string, file: string): E.Either<Issues, Parsed> => {
  const top = { file, line: 1, column: 1 }
  if (text.length > maxLength) {
    const message = `the file is too large for a config: ${text.length} characters`
    return E.left(one(issue(message, { ...top, expected: `at most ${maxLength} characters` })))
  }
  const tokens = [...new Parser().parse(text)]
  if (isTooDeep(tokens))
    return E.left(one(issue(`values are nested more than ${maxDepth} levels deep`, top)))
  const locate = locator(text)
  const [document, ...others] = compose(tokens, text.length)
  if (document === undefined) return E.left(one(issue('the file is empty', top)))
  const [first, ...rest] = [
    ...syntaxProblems(document, tokens).map(({ offset, ...said }) =>
      issue(said.message, { ...said, file, ...locate(offset) }),
    ),
    ...severalDocuments(others, file, locate),
  ]
  return first === undefined ? E.right({ document, locate }) : E.left(capped([first, ...rest]))
}

const severalDocuments = (
  others: ReadonlyArray<Document.Parsed>,
  file: string,
  locate: Parsed['locate'],
): ReadonlyArray<Issue> =>
  others.slice(0, 1).map((second) =>
    issue(`the file holds ${others.length + 1} YAML documents`, {
      file,
      ...locate(second.range[0]),
      expected: 'one document',
      hint: 'remove the `---` between them',
    }),
  )
