/** The ids that begin, end and pad a text, from the files that name them. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { classTokens, kindOf } from './class.ts'
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

/**
 * The text of a named token as the tokenizer has it: special_tokens_map.json is read by old folders only, those whose
 * tokenizer_config.json lists no added tokens, and wins there; what neither says is the class's own.
 */
export const namedToken = (files: TokenizerFiles, name: Name): string | undefined => {
  const config = files.tokenizerConfig ?? {}
  const map = 'added_tokens_decoder' in config ? {} : (files.specialTokensMap ?? {})
  const kind = kindOf(files)
  const own = kind === null ? undefined : classTokens[kind][name]
  return contentOf(name in map ? map[name] : name in config ? config[name] : own)
}

/** The ids that the model's own files list: generation_config.json where there is one, else config.json. */
export const listedIds = (files: TokenizerFiles, name: Name): ReadonlyArray<number> =>
  idsOf((files.generationConfig ?? files.config)?.[`${name}_id`])

type IdOf = (token: string) => number | undefined

const ownIds = (files: TokenizerFiles, idOf: IdOf, name: Name): ReadonlyArray<number> => {
  const token = namedToken(files, name)
  return token === undefined ? [] : idsOf(idOf(token))
}

/** Of a named token: the tokenizer's own first, then those the model lists. */
const named = (files: TokenizerFiles, idOf: IdOf, name: Name): ReadonlyArray<number> => [
  ...new Set([...ownIds(files, idOf, name), ...listedIds(files, name)]),
]

export interface Around {
  readonly before: ReadonlyArray<number>
  readonly after: ReadonlyArray<number>
}

const nothing: Around = { before: [], after: [] }

const templateAround = (processor: JsonObject): Around => {
  const tokens = isObject(processor.special_tokens) ? processor.special_tokens : {}
  const single = objects(processor.single)
  const text = single.findIndex((part) => isObject(part.Sequence))
  const idsIn = (parts: ReadonlyArray<JsonObject>): ReadonlyArray<number> =>
    parts.flatMap((part) => {
      const token = isObject(part.SpecialToken) ? String(part.SpecialToken.id) : ''
      const entry = Object.hasOwn(tokens, token) ? tokens[token] : undefined
      return isObject(entry) ? idsOf(entry.ids) : []
    })
  return text < 0
    ? nothing
    : { before: idsIn(single.slice(0, text)), after: idsIn(single.slice(text + 1)) }
}

/** What a post-processor puts around a single text. Left: one that is not known. */
const processed = (processor: unknown): E.Either<string, Around> => {
  if (!isObject(processor) || processor.type === 'ByteLevel') return E.right(nothing)
  if (processor.type === 'TemplateProcessing') return E.right(templateAround(processor))
  return processor.type === 'Sequence'
    ? pipe(
        objects(processor.processors),
        E.traverseArray(processed),
        E.map((all) => ({
          before: all.toReversed().flatMap((a) => a.before),
          after: all.flatMap((a) => a.after),
        })),
      )
    : E.left(`uses the post-processor ${String(processor.type)}, which is not supported`)
}

/**
 * What the tokenizer itself puts around a text: what its post-processor says, whatever `add_bos_token` of
 * tokenizer_config.json (transformers 5 reads that only where there is no tokenizer.json). CodeLlama's class always
 * begins with BOS.
 */
export const around = (files: TokenizerFiles, idOf: IdOf): E.Either<string, Around> =>
  kindOf(files) === 'CodeLlamaTokenizer'
    ? E.right({ before: ownIds(files, idOf, 'bos_token'), after: [] })
    : processed(files.tokenizer.post_processor)

/** `idOf` looks a token up in the vocabulary. Left: what cannot be followed, to stand after "the tokenizer". */
export const specialIds = (
  files: TokenizerFiles,
  idOf: (token: string) => number | undefined,
): E.Either<string, SpecialIds> => {
  const end = namedToken(files, 'eos_token')
  const declared = contentOf(files.tokenizerConfig?.eos_token ?? files.specialTokensMap?.eos_token)
  if (end !== undefined && declared === end && idOf(end) === undefined)
    return E.left(`has no token ${JSON.stringify(end)}, which the files name as eos_token`)
  return pipe(
    around(files, idOf),
    E.filterOrElse(
      ({ before }) => before.length <= 1,
      ({ before }) => `puts ${before.length} tokens before a text, where one at most is supported`,
    ),
    E.map(({ before }) => ({
      bosId: before[0] ?? null,
      eosIds: named(files, idOf, 'eos_token'),
      padId: named(files, idOf, 'pad_token')[0] ?? null,
    })),
  )
}
