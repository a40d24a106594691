/** Ids that the files of a model name: each is an id, or absent. What is passed over in silence would change where answers begin and end. */
import * as E from 'fp-ts/lib/Either.js'
import { issue, type Issue } from '../issue.ts'
import { isObject, objects, type JsonObject } from './json.ts'
import type { TokenizerFiles } from './special.ts'
import type { Vocabulary } from './vocabulary.ts'

const isId = (id: unknown): boolean => typeof id === 'number' && Number.isInteger(id) && id >= 0

/** Llama 1 was published with a padding id of −1, which means none. */
const isNoPad = (key: string, id: unknown): boolean => key === 'pad_token_id' && id === -1

const oddIn = (file: JsonObject | undefined, name: string): Issue | null => {
  for (const key of ['bos_token_id', 'eos_token_id', 'pad_token_id']) {
    const given = file?.[key] ?? []
    const odd = (Array.isArray(given) ? given : [given]).find(
      (id) => !isId(id) && !isNoPad(key, id),
    )
    if (odd !== undefined)
      return issue(`${key} of ${name} is ${JSON.stringify(odd)}`, {
        path: key,
        expected: 'a whole number of at least 0, a list of them, or null',
      })
  }
  return null
}

/** What a post-processor would put around a text without its being a token. */
const oddInTemplate = (processor: unknown, known: ReadonlySet<number>): Issue | null => {
  if (!isObject(processor)) return null
  for (const inner of objects(processor.processors)) {
    const odd = oddInTemplate(inner, known)
    if (odd !== null) return odd
  }
  const special = isObject(processor.special_tokens) ? processor.special_tokens : {}
  for (const [token, entry] of Object.entries(special)) {
    const ids = isObject(entry) && Array.isArray(entry.ids) ? entry.ids : [entry]
    const odd = ids.find((id) => typeof id !== 'number' || !known.has(id))
    if (odd !== undefined)
      return issue(
        `the post-processor gives ${JSON.stringify(token)} the id ${JSON.stringify(odd)}`,
        {
          expected: 'ids of the vocabulary',
        },
      )
  }
  return null
}

/** Left: the first that is no id. */
export const checkNamedIds = (
  files: TokenizerFiles,
  vocabulary: Vocabulary,
): E.Either<Issue, void> => {
  const odd =
    oddIn(files.generationConfig, 'generation_config.json') ??
    oddIn(files.config, 'config.json') ??
    oddInTemplate(files.tokenizer.post_processor, new Set(vocabulary.values()))
  return odd === null ? E.right(undefined) : E.left(odd)
}
