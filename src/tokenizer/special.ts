/** The ids that begin, end and pad a text, from the files that name them. */
import { isObject, objects, type JsonObject } from './json.ts'

/** The JSON files beside the weights that speak of special tokens; undefined where a file is missing. */
export interface TokenizerFiles {
  readonly tokenizer: JsonObject
  readonly tokenizerConfig: JsonObject | undefined
  readonly specialTokensMap: JsonObject | undefined
  readonly generationConfig: JsonObject | undefined
  readonly config: JsonObject | undefined
}

export interface SpecialIds {
  readonly bosId: number | null
  readonly eosIds: ReadonlyArray<number>
  readonly padId: number | null
}

type Name = 'bos_token' | 'eos_token' | 'pad_token'

/** A special token is written as text or as `{ content: text, … }`. */
const contentOf = (value: unknown): string | undefined => {
  const content = isObject(value) ? value.content : value
  return typeof content === 'string' ? content : undefined
}

const idsOf = (value: unknown): ReadonlyArray<number> =>
  (Array.isArray(value) ? value : [value]).filter(
    (id): id is number => Number.isInteger(id) && (id as number) >= 0,
  )

/** The ids of a named token: the tokenizer's own first, then those the model's configurations list. */
const named = (
  files: TokenizerFiles,
  idOf: (token: string) => number | undefined,
  name: Name,
): ReadonlyArray<number> => {
  const written = [files.tokenizerConfig?.[name], files.specialTokensMap?.[name]].map(contentOf)
  const own = written.flatMap((token) => idsOf(token === undefined ? undefined : idOf(token)))
  const listed = [files.generationConfig, files.config].flatMap((f) => idsOf(f?.[`${name}_id`]))
  return [...new Set([...own.slice(0, 1), ...listed])]
}

/** The ids that the post-processor's template puts before a single text. */
const templatePrefix = (processor: unknown): ReadonlyArray<number> => {
  if (!isObject(processor)) return []
  if (processor.type === 'Sequence')
    return objects(processor.processors).flatMap((inner) => templatePrefix(inner))
  if (processor.type !== 'TemplateProcessing' || !isObject(processor.special_tokens)) return []
  const single = objects(processor.single)
  const text = single.findIndex((part) => isObject(part.Sequence))
  const tokens = processor.special_tokens
  return single.slice(0, Math.max(0, text)).flatMap((part) => {
    const token = isObject(part.SpecialToken) ? String(part.SpecialToken.id) : ''
    const entry = Object.hasOwn(tokens, token) ? tokens[token] : undefined
    return isObject(entry) ? idsOf(entry.ids) : []
  })
}

/**
 * BOS is what the tokenizer itself puts before a text: as `add_bos_token` says, otherwise as its post-processor does;
 * null when it puts nothing, even if the model's configuration names a BOS (Qwen2).
 */
const bosOf = (
  files: TokenizerFiles,
  idOf: (token: string) => number | undefined,
): number | null => {
  const adds = files.tokenizerConfig?.add_bos_token
  if (adds === false) return null
  const prefix = templatePrefix(files.tokenizer.post_processor)
  return (adds === true ? named(files, idOf, 'bos_token')[0] : prefix[0]) ?? null
}

/** `idOf` looks a token up in the vocabulary. */
export const specialIds = (
  files: TokenizerFiles,
  idOf: (token: string) => number | undefined,
): SpecialIds => ({
  bosId: bosOf(files, idOf),
  eosIds: named(files, idOf, 'eos_token'),
  padId: named(files, idOf, 'pad_token')[0] ?? null,
})
