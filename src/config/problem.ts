/** What the stages of reading a config hand on: problems and notices about a path of the file. */
import { issue, type Issue, type Issues } from '../issue.ts'
import { positionOf, showPath, type Node, type Path } from './yaml/node.ts'

export interface Problem {
  /** What is wrong, one sentence without a full stop. */
  readonly message: string
  readonly path: Path
  /** Point at the key itself; otherwise at its value. */
  readonly of?: 'key' | 'value'
  readonly expected?: string
  /** How to mend it. */
  readonly hint?: string
}

/** Something accepted that is worth knowing before a run. */
export interface Notice {
  readonly message: string
  /** Dotted key: `trainer.epochs`. */
  readonly path?: string
  /** 1-based line of the file. */
  readonly line?: number
}

/** Says the same as the problem, with its place in the file. */
export const toIssue =
  (root: Node, file: string) =>
  ({ message, path, of, expected, hint }: Problem): Issue =>
    issue(message, {
      file,
      ...positionOf(root, path, of ?? 'value'),
      ...(path.length === 0 ? {} : { path: showPath(path) }),
      ...(expected === undefined ? {} : { expected }),
      ...(hint === undefined ? {} : { hint }),
    })

export const notice = (root: Node, path: Path, message: string): Notice => ({
  message,
  path: showPath(path),
  line: positionOf(root, path, 'key').line,
})

const most = 50

/** The first 50 issues, and how many more there are. */
export const capped = (issues: Issues): Issues => {
  const [first, ...rest] = issues
  const next = issues[most]
  if (next === undefined) return issues
  const { message: _message, path: _path, expected: _expected, hint: _hint, ...place } = next
  const more = issue(`${issues.length - most} more problems follow from here`, place)
  return [first, ...rest.slice(0, most - 1), more]
}
