/** A YAML document as a `Node` tree: aliases expanded within a bound, merge keys applied, keys checked. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { isAlias, isMap, isScalar, isSeq, type ParsedNode, type YAMLMap } from 'yaml'

import { issue, one, type Issue, type Issues } from '../../issue.ts'
import {
  isNull,
  scalar,
  shorten,
  type Entry,
  type MapNode,
  type Node,
  type Position,
} from './node.ts'
import { readDocument, type Parsed } from './read.ts'

/** Values in the file once its aliases are expanded. */
const maxNodes = 4000

interface Reading {
  readonly file: string
  readonly locate: Parsed['locate']
  readonly anchors: Map<string, { readonly node: Node; readonly size: number }>
  /** What leaves the rest readable. */
  readonly issues: Array<Issue>
  /** What does not. */
  readonly broken: Array<Issue>
  count: number
}

const complain = (r: Reading, at: Position, message: string, hint: string): void => {
  r.issues.push(issue(message, { file: r.file, ...at, hint }))
}

const broken = (r: Reading, at: Position, message: string): void => {
  r.broken.push(issue(message, { file: r.file, ...at }))
}

const expandAlias = (r: Reading, name: string, at: Position): Node => {
  const anchor = r.anchors.get(name)
  if (anchor === undefined)
    broken(r, at, `the alias \`*${name}\` has no anchor \`&${name}\` that ends before it`)
  r.count += anchor?.size ?? 0
  return anchor?.node ?? scalar(null, at)
}

/** Descends no further once the bound is passed: the caller then refuses the file. */
const convert = (r: Reading, source: ParsedNode | null, near: Position): Node => {
  const before = r.count
  r.count += 1
  if (source === null || r.count > maxNodes) return scalar(null, near)
  const at = r.locate(source.range[0])
  if (isAlias(source)) return expandAlias(r, source.source, at)
  const node = convertHere(r, source, at)
  if (source.anchor !== undefined) r.anchors.set(source.anchor, { node, size: r.count - before })
  return node
}

const convertHere = (r: Reading, source: ParsedNode, at: Position): Node => {
  if (isMap(source)) return convertMap(r, source, at)
  if (isSeq(source)) return { kind: 'list', items: source.items.map((i) => convert(r, i, at)), at }
  const value: unknown = isScalar(source) ? source.value : null
  const isPlain = value === null || typeof value === 'number' || typeof value === 'boolean'
  return scalar(isPlain ? value : String(value), at)
}

const keyText = (r: Reading, key: ParsedNode, at: Position): string | undefined => {
  if (isScalar(key) && typeof key.value === 'string') return key.value
  const shown = isScalar(key)
    ? `the key \`${String(key.value)}\` is no text`
    : 'this key is no text'
  complain(r, at, shown, 'put the key in quotes')
  return undefined
}

const convertMap = (r: Reading, source: YAMLMap.Parsed, at: Position): MapNode => {
  const own = new Map<string, Entry>()
  const merged: Array<Entry> = []
  for (const pair of source.items) {
    if (r.count > maxNodes) break
    const keyAt = r.locate(pair.key.range[0])
    const key = keyText(r, pair.key, keyAt)
    const value = convert(r, pair.value, keyAt)
    if (key === undefined) continue
    const first = own.get(key)
    if (key === '<<') merged.push(...mergeEntries(r, value, keyAt))
    else if (first === undefined) own.set(key, { key, at: keyAt, value })
    else
      complain(
        r,
        keyAt,
        `the key \`${shorten(key, 60)}\` is given twice in one section, first on line ${first.at.line}`,
        'remove one of the two',
      )
  }
  for (const entry of merged) if (!own.has(entry.key)) own.set(entry.key, entry)
  return { kind: 'map', entries: [...own.values()], at }
}

const mergeEntries = (r: Reading, value: Node, at: Position): ReadonlyArray<Entry> => {
  if (value.kind === 'map') return value.entries
  if (value.kind === 'list' && value.items.every((i) => i.kind === 'map'))
    return value.items.flatMap((i) => i.entries)
  broken(r, at, 'the merge key `<<` takes a map or a list of maps')
  return []
}

const kindOf = (node: Node): string => {
  if (node.kind === 'list') return 'the file is a list'
  return isNull(node) ? 'the file is empty' : 'the file is a single value'
}

const topLevel = (r: Reading, node: Node): E.Either<Issues, MapNode> => {
  const [first, ...rest] = r.broken
  if (r.count > maxNodes)
    return E.left(
      one(
        issue(`the file holds more than ${maxNodes} values once its aliases are expanded`, {
          file: r.file,
          line: 1,
          column: 1,
        }),
      ),
    )
  if (first !== undefined) return E.left([first, ...rest])
  if (node.kind === 'map') return E.right(node)
  const expected = 'a map of keys, starting with `model_type: llm`'
  return E.left(one(issue(kindOf(node), { file: r.file, ...node.at, expected })))
}

export interface YamlFile {
  readonly root: MapNode
  /** Problems that leave the rest readable: keys given twice, keys that are no text. */
  readonly issues: ReadonlyArray<Issue>
}

/** Left: what makes the text unreadable as a map. */
export const readYaml = (text: string, file: string): E.Either<Issues, YamlFile> =>
  pipe(
    readDocument(text, file),
    E.chain(({ document, locate }) => {
      const r: Reading = { file, locate, anchors: new Map(), issues: [], broken: [], count: 0 }
      const node = convert(r, document.contents, { line: 1, column: 1 })
      return pipe(
        topLevel(r, node),
        E.map((root) => ({ root, issues: r.issues })),
      )
    }),
  )
