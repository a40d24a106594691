/** A YAML file as plain data in which every key and value remembers where it stands. */

/** 1-based. */
export interface Position {
  readonly line: number
  readonly column: number
}

export type Scalar = string | number | boolean | null

export interface Entry {
  readonly key: string
  readonly at: Position
  readonly value: Node
}

export interface ScalarNode {
  readonly kind: 'scalar'
  readonly value: Scalar
  readonly at: Position
}

export interface ListNode {
  readonly kind: 'list'
  readonly items: ReadonlyArray<Node>
  readonly at: Position
}

export interface MapNode {
  readonly kind: 'map'
  readonly entries: ReadonlyArray<Entry>
  readonly at: Position
}

export type Node = ScalarNode | ListNode | MapNode

/** Keys from the root down; an index of a list is its decimal text. */
export type Path = ReadonlyArray<string>

/** Fit for a message: at most `length` characters and none that would upset a terminal. */
export const shorten = (text: string, length: number): string => {
  const shown = text.slice(0, length).replace(/\p{C}/gu, '?')
  return text.length > length ? `${shown}…` : shown
}

const showKey = (key: string): string => shorten(key, 60)

/** `['input_features', '0', 'name']` as `input_features[0].name`; overlong keys are cut. */
export const showPath = (path: Path): string =>
  path.reduce((shown, key) => {
    if (/^\d+$/.test(key)) return `${shown}[${key}]`
    return shown === '' ? showKey(key) : `${shown}.${showKey(key)}`
  }, '')

export const scalar = (value: Scalar, at: Position): ScalarNode => ({ kind: 'scalar', value, at })

export const isNull = (node: Node): boolean => node.kind === 'scalar' && node.value === null

/** The plain JavaScript value, without positions. */
export const toValue = (node: Node): unknown => {
  if (node.kind === 'scalar') return node.value
  if (node.kind === 'list') return node.items.map(toValue)
  return Object.fromEntries(node.entries.map((e) => [e.key, toValue(e.value)]))
}

const entryOf = (node: Node, key: string): Entry | undefined => {
  if (node.kind === 'map') return node.entries.find((e) => e.key === key)
  const item = node.kind === 'list' ? node.items[Number(key)] : undefined
  return item === undefined ? undefined : { key, at: item.at, value: item }
}

/** The node at a path, or undefined where the file does not say. */
export const nodeAt = (root: Node, path: Path): Node | undefined =>
  path.reduce<Node | undefined>(
    (node, key) => (node === undefined ? undefined : entryOf(node, key)?.value),
    root,
  )

/** Where a value begins; its key where that is on an earlier line; for what the file does not hold, the key of the nearest section around it. */
export const positionOf = (root: Node, path: Path, of: 'key' | 'value'): Position => {
  let node = root
  let at = root.at
  for (const key of path) {
    const entry = entryOf(node, key)
    if (entry === undefined) return at
    at = entry.at
    node = entry.value
  }
  return of === 'value' && node.at.line === at.line ? node.at : at
}

/** Replaces, adds (last) or with undefined removes one entry of a map. */
export const withEntry = (map: MapNode, key: string, value: Node | undefined): MapNode => {
  const found = map.entries.some((e) => e.key === key)
  const kept = map.entries.flatMap((e) => {
    if (e.key !== key) return [e]
    return value === undefined ? [] : [{ ...e, value }]
  })
  const added = found || value === undefined ? [] : [{ key, at: value.at, value }]
  return { ...map, entries: [...kept, ...added] }
}
