/** Problems as a person reads them: what, the line it stands in with a caret, what was expected, how to mend it. */
import type { Issue } from '../issue.ts'
import type { Style } from './style.ts'

/** Text of a file that an issue names, or undefined when it cannot be read. */
export type Source = (file: string) => string | undefined

/** The word that begins at a 1-based column: what the caret underlines. */
const wordAt = (line: string, column: number): number => {
  const rest = line.slice(column - 1)
  const quoted = /^"(?:[^"\\]|\\.)*"|^'(?:[^']|'')*'/.exec(rest)
  return Math.max(1, (quoted ?? /^[^\s,:}\]]+/.exec(rest))?.[0].length ?? 1)
}

/** Characters shown of a line, and how many of them before the place. */
const [MOST, BEFORE] = [160, 60]

/** The part of a line around a column, and where that column is in it. */
const window = (
  line: string,
  column: number,
): { readonly shown: string; readonly column: number } => {
  if (line.length <= MOST) return { shown: line, column }
  const from = Math.max(0, column - 1 - BEFORE)
  const cut = line.slice(from, from + MOST)
  const end = from + MOST < line.length ? '…' : ''
  return from === 0
    ? { shown: `${cut}${end}`, column }
    : { shown: `…${cut}${end}`, column: column - from + 1 }
}

const excerpt = (i: Issue, source: Source, s: Style): ReadonlyArray<string> => {
  if (i.file === undefined || i.line === undefined) return []
  const line = source(i.file)?.split(/\r?\n/)[i.line - 1]
  if (line === undefined) return []
  const margin = String(i.line)
  const { shown, column } = window(line.replace(/\p{Cc}/gu, ' '), i.column ?? 1)
  const bar = s.blue('|')
  const body = `  ${s.blue(margin)} ${bar} ${shown}`
  if (i.column === undefined) return [body]
  const caret = '^'.repeat(wordAt(shown, column))
  return [body, `  ${' '.repeat(margin.length)} ${bar} ${' '.repeat(column - 1)}${s.red(caret)}`]
}

const placeOf = (i: Issue): string =>
  [i.file, i.line, i.line === undefined ? undefined : i.column]
    .filter((x) => x !== undefined)
    .join(':')

const worded = (name: string, text: string, s: Style): string =>
  `  ${s.bold(`${name}:`)} ${text.split('\n').join(`\n  ${' '.repeat(name.length + 2)}`)}`

/** One issue, a few lines. */
export const renderIssue = (i: Issue, source: Source, s: Style): ReadonlyArray<string> => {
  const at = placeOf(i)
  const path = i.path !== undefined && !i.message.includes(i.path) ? ` (${i.path})` : ''
  return [
    `${s.red(s.bold('error:'))} ${s.bold(i.message)}${s.dim(path)}`,
    ...(at === '' ? [] : [`  ${s.dim(`at ${at}`)}`]),
    ...excerpt(i, source, s),
    ...(i.expected === undefined ? [] : [worded('expected', i.expected, s)]),
    ...(i.hint === undefined ? [] : [worded('hint', i.hint, s)]),
  ]
}

/** All of them, an empty line between two, and how many at the end. */
export const renderIssues = (
  issues: ReadonlyArray<Issue>,
  source: Source,
  s: Style,
): ReadonlyArray<string> => [
  ...issues.flatMap((i, n) => [...(n === 0 ? [] : ['']), ...renderIssue(i, source, s)]),
  ...(issues.length > 1 ? ['', s.bold(`${issues.length} problems`)] : []),
]
