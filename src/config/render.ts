/** A config as YAML with every default written out. */
import { stringify } from 'yaml'

import { propsOf } from './schema/codec.ts'
import { configCodec, type Config } from './schema/config.ts'

/** The same value with its keys in the order of the schema. */
const ordered = (codec: object, value: unknown): unknown => {
  const props = propsOf(codec)
  if (Array.isArray(value)) return value.map((item: unknown) => ordered(codec, item))
  if (props === undefined || typeof value !== 'object' || value === null) return value
  const entries = new Map<string, unknown>(Object.entries(value))
  return Object.fromEntries(
    Object.entries(props)
      .filter(([key]) => entries.has(key))
      .map(([key, inner]) => [key, ordered(inner, entries.get(key))]),
  )
}

/** Reading the text again gives an equal config. */
export const renderConfig = (config: Config): string =>
  stringify(ordered(configCodec, config), {
    schema: 'core',
    lineWidth: 0,
    blockQuote: 'literal',
    aliasDuplicateObjects: false,
  })
