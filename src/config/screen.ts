/** Sorts the keys of the file: supported, known to Ludwig only, unknown. */
import { isDeepStrictEqual } from 'node:util'
import * as t from 'io-ts'

import { lookUp, type Known, type Refusal } from './ludwig/known.ts'
import { ludwigKeys } from './ludwig/keys.ts'
import type { Problem } from './problem.ts'
import { isListOf, propsOf, variantsOf, type Variants } from './schema/codec.ts'
import { configCodec } from './schema/config.ts'
import { suggestKey } from './suggest.ts'
import {
  isNull,
  showPath,
  toValue,
  type Entry,
  type MapNode,
  type Node,
  type Path,
} from './yaml/node.ts'

export interface Screened {
  /** The supported keys alone. */
  readonly root: MapNode
  /** Keys that Ludwig knows and tunec does not. */
  readonly refused: ReadonlyArray<Problem>
  /** Keys that neither knows. */
  readonly unknown: ReadonlyArray<Problem>
}

interface Sink {
  readonly refused: Array<Problem>
  readonly unknown: Array<Problem>
}

interface Level {
  readonly props: t.Props
  /** By the section's own `type`, where its keys depend on it. */
  readonly variants?: Variants['variants']
  readonly known: Known
  readonly path: Path
  /** The section's own `type`, which decides which keys Ludwig has in it. */
  readonly type: unknown
  readonly section: MapNode
}

const instead = (row: Refusal, section: MapNode): string => {
  if (typeof row.instead === 'string') return row.instead
  const values = toValue(section)
  return row.instead(t.UnknownRecord.is(values) ? values : {})
}

const refuse = (path: Path, hint: string | undefined): Problem => ({
  message: `Ludwig knows \`${showPath(path)}\`; tunec does not yet`,
  path,
  of: 'key',
  ...(hint === undefined ? {} : { hint }),
})

const hintFor = ({ path, type }: Level, key: string, row: Refusal | undefined): string => {
  if (row?.types === undefined)
    return suggestKey(showPath(path), key) ?? 'remove it: it has no meaning here'
  const other = type === undefined ? '' : ` and not with \`type: ${String(type)}\``
  return `leave it out: Ludwig has it with \`type: ${row.types[0]}\`${other}`
}

const unknownKey = (level: Level, key: string, row: Refusal | undefined): Problem => ({
  message: `unknown key \`${showPath([key])}\``,
  path: [...level.path, key],
  of: 'key',
  hint: hintFor(level, key, row),
})

const screenNode = (
  sink: Sink,
  node: Node,
  level: Omit<Level, 'type' | 'section'>,
  isList: boolean,
): Node => {
  if (node.kind === 'map') return screenMap(sink, node, level)
  if (node.kind === 'scalar' || !isList) return node
  const items = node.items.map((item, i) =>
    screenNode(sink, item, { ...level, path: [...level.path, String(i)] }, false),
  )
  return { ...node, items }
}

const screenMap = (sink: Sink, map: MapNode, level: Omit<Level, 'type' | 'section'>): MapNode => {
  const typeNode = map.entries.find((e) => e.key === 'type')?.value
  const type = typeNode?.kind === 'scalar' ? typeNode.value : undefined
  const variant = level.variants?.[String(type)]
  const props = (variant === undefined ? undefined : propsOf(variant)) ?? level.props
  const here = { ...level, props, type, section: map }
  const entries = map.entries.flatMap((e) => screenEntry(sink, e, here))
  return { ...map, entries }
}

const screenEntry = (sink: Sink, entry: Entry, level: Level): ReadonlyArray<Entry> => {
  const path = [...level.path, entry.key]
  const row = lookUp(level.known, entry.key)
  const known = row !== undefined && 'section' in row ? row.section : {}
  const codec = Object.hasOwn(level.props, entry.key) ? level.props[entry.key] : undefined
  if (codec !== undefined) {
    const props = propsOf(codec)
    if (props === undefined) return [entry]
    const variants = variantsOf(codec)
    const below = { props, known, path, ...(variants === undefined ? {} : { variants }) }
    return [{ ...entry, value: screenNode(sink, entry.value, below, isListOf(codec)) }]
  }
  if (row !== undefined && 'section' in row) screenForeign(sink, entry.value, known, path)
  else screenRefused(sink, entry, row, level)
  return []
}

/** A section of which tunec supports no key. */
const screenForeign = (sink: Sink, value: Node, known: Known, path: Path): void => {
  if (value.kind === 'map') screenMap(sink, value, { props: {}, known, path })
  else if (!isNull(value)) sink.refused.push(refuse(path, undefined))
}

const screenRefused = (sink: Sink, entry: Entry, row: Refusal | undefined, level: Level): void => {
  if (row === undefined || (row.types !== undefined && !row.types.includes(String(level.type))))
    sink.unknown.push(unknownKey(level, entry.key, row))
  else if (row.types === undefined && !isInert(row, toValue(entry.value)))
    sink.refused.push(refuse([...level.path, entry.key], instead(row, level.section)))
}

const isInert = (row: Refusal, value: unknown): boolean =>
  row.inert.some((inert) => isDeepStrictEqual(inert, value))

export const screen = (root: MapNode): Screened => {
  const sink: Sink = { refused: [], unknown: [] }
  const props = propsOf(configCodec) ?? {}
  const kept = screenMap(sink, root, { props, known: ludwigKeys, path: [] })
  return { root: kept, ...sink }
}
