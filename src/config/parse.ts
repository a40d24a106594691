/** YAML text to a complete `Config`, or everything that is wrong with it. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'

import type { Issue, Issues } from '../issue.ts'
import { pathOf, type Given } from './checks/check.ts'
import { findProblems } from './checks/index.ts'
import { decodeConfig } from './decode.ts'
import { gathered } from './foreign.ts'
import { remarks } from './notices.ts'
import { capped, notice, toIssue, type Notice, type Problem } from './problem.ts'
import type { Config } from './schema/config.ts'
import { screen } from './screen.ts'
import { expandShorthand } from './shorthand.ts'
import { readYaml, type YamlFile } from './yaml/convert.ts'
import { isNull, nodeAt, toValue, type MapNode, type Node } from './yaml/node.ts'

export interface ParseOptions {
  /** Named in issues. */
  readonly file: string
  /** Drop keys that neither Ludwig nor tunec knows, with a notice each, as Ludwig does. */
  readonly lenient?: boolean
}

export interface ParsedConfig {
  readonly config: Config
  /** In the order of the file. */
  readonly notices: ReadonlyArray<Notice>
}

const givenIn =
  (root: MapNode): Given =>
  (dotted) => {
    const node = nodeAt(root, pathOf(dotted))
    return node !== undefined && !isNull(node)
  }

const byPlace = (a: Issue | Notice, b: Issue | Notice): number =>
  (a.line ?? 0) - (b.line ?? 0) || columnOf(a) - columnOf(b)

const columnOf = (a: Issue | Notice): number => ('column' in a ? (a.column ?? 0) : 0)

const presetNotice = (root: Node, config: Config): ReadonlyArray<Notice> => {
  const node = nodeAt(root, ['base_model'])
  const written = node?.kind === 'scalar' ? node.value : config.base_model
  return written === config.base_model
    ? []
    : [notice(root, ['base_model'], `the preset ${String(written)} is ${config.base_model}`)]
}

const dropped = (root: Node, { message, path, hint }: Problem): Notice =>
  notice(root, path, `${message} is ignored, as in Ludwig; ${hint ?? ''}`)

const parseRoot =
  ({ file, lenient = false }: ParseOptions) =>
  ({ root: original, issues }: YamlFile): E.Either<Issues, ParsedConfig> => {
    const expanded = expandShorthand(original)
    const screened = screen(expanded.root)
    const decoded = decodeConfig(toValue(screened.root))
    const given = givenIn(screened.root)
    const { config } = decoded
    const problems = [
      ...screened.refused,
      ...(lenient ? [] : screened.unknown),
      ...decoded.problems,
      ...(config === undefined ? [] : findProblems(config, given, decoded.problems)),
    ]
    const [first, ...rest] = [
      ...issues,
      ...expanded.problems.map(toIssue(original, file)),
      ...(problems.length === 0 ? [] : gathered(expanded.root, problems)).map(
        toIssue(expanded.root, file),
      ),
    ].sort(byPlace)
    if (first !== undefined) return E.left(capped([first, ...rest]))
    if (config === undefined) throw new Error('a config without problems did not decode')
    const notices = [
      ...expanded.notices,
      ...screened.unknown.map((p) => dropped(expanded.root, p)),
      ...presetNotice(expanded.root, config),
      ...[...decoded.remarks, ...remarks(config, given)].map(({ path, message }) =>
        notice(expanded.root, path, message),
      ),
    ]
    return E.right({ config, notices: notices.sort(byPlace) })
  }

/** Pure. Left: every problem of the file in the order of its lines, each with its place. */
export const parseConfig = (text: string, options: ParseOptions): E.Either<Issues, ParsedConfig> =>
  pipe(readYaml(text, options.file), E.chain(parseRoot(options)))
