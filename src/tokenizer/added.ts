/** The added tokens: those of tokenizer.json, as tokenizer_config.json corrects them. */
import * as E from 'fp-ts/lib/Either.js'
import { isObject, objects, type JsonObject } from './json.ts'

/** How a token meets the text around it; where the files differ, tokenizer_config.json is followed. */
const flags = ['lstrip', 'rstrip', 'normalized', 'single_word'] as const

const corrected = (token: JsonObject, by: JsonObject | undefined): JsonObject =>
  by === undefined
    ? token
    : {
        ...token,
        ...Object.fromEntries(
          flags.filter((f) => typeof by[f] === 'boolean').map((f) => [f, by[f]]),
        ),
        special: token.special === true || by.special === true,
      }

/**
 * Left: a token that only tokenizer_config.json adds, or has another id there. Transformers would give it a new id,
 * which no model has been trained with.
 */
export const withDeclared = (
  json: JsonObject,
  config: JsonObject | undefined,
): E.Either<string, JsonObject> => {
  const declared = config?.added_tokens_decoder
  if (!isObject(declared)) return E.right(json)
  const known = objects(json.added_tokens)
  const byContent = new Map(
    Object.values(declared)
      .filter(isObject)
      .map((t) => [t.content, t] as const),
  )
  for (const [id, token] of Object.entries(declared)) {
    const content = isObject(token) ? token.content : token
    const found = known.find((t) => t.content === content)
    if (found === undefined)
      return E.left(
        `lacks ${JSON.stringify(content)}, which tokenizer_config.json adds with the id ${id}`,
      )
    if (String(found.id) !== id)
      return E.left(
        `gives ${JSON.stringify(content)} the id ${String(found.id)}, tokenizer_config.json the id ${id}`,
      )
  }
  return E.right({
    ...json,
    added_tokens: known.map((t) => corrected(t, byContent.get(t.content))),
  })
}
