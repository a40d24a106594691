/**
 * The vocabulary of a tokenizer.json, and whether every text becomes ids that are ids: a hole in it would drop
 * characters in silence, and a number that is none would be scored as nothing or as another token.
 */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { isObject, objects, type JsonObject } from './json.ts'

/** Token text to id, added tokens included. */
export type Vocabulary = ReadonlyMap<string, number>

/** Ids are stored as signed 32-bit integers. */
const MOST = 2 ** 31 - 1

const isId = (id: unknown): id is number =>
  typeof id === 'number' && Number.isInteger(id) && id >= 0 && id <= MOST

const wrong = (why: string): E.Either<string, never> => E.left(why)

const quoted = (text: string): string =>
  JSON.stringify(text.length > 40 ? `${text.slice(0, 40)}…` : text)

const shownId = (id: unknown): string => (JSON.stringify(id) ?? 'nothing').slice(0, 40)

const entriesOf = (vocab: JsonObject): E.Either<string, Map<string, number>> => {
  const ids = new Map<string, number>()
  const tokens = new Map<number, string>()
  for (const [token, id] of Object.entries(vocab)) {
    if (!isId(id)) return wrong(`gives the token ${quoted(token)} the id ${shownId(id)}`)
    const other = tokens.get(id)
    if (other !== undefined)
      return wrong(`gives the tokens ${quoted(other)} and ${quoted(token)} the same id ${id}`)
    ids.set(token, id)
    tokens.set(id, token)
  }
  return ids.size === 0 ? wrong('has an empty vocabulary') : E.right(ids)
}

/** An added token without text would match everywhere. */
const withAdded = (ids: Map<string, number>, added: unknown): E.Either<string, Vocabulary> => {
  if (Array.isArray(added) && !added.every(isObject))
    return wrong('has an added token that is no object')
  for (const { content, id } of objects(added)) {
    if (typeof content !== 'string' || content === '')
      return wrong(`has an added token without text: id ${shownId(id)}`)
    if (!isId(id)) return wrong(`gives the added token ${quoted(content)} the id ${shownId(id)}`)
    ids.set(content, id)
  }
  return E.right(ids)
}

const parts = (merge: unknown): ReadonlyArray<unknown> =>
  typeof merge === 'string' ? merge.split(' ') : Array.isArray(merge) ? merge : []

/** Hugging Face's refuses these too: such a merge gives a token without an id. */
const checkMerges = (
  merges: unknown,
  vocab: ReadonlyMap<string, number>,
): E.Either<string, void> => {
  for (const merge of Array.isArray(merges) ? merges : []) {
    const [a, b, ...more] = parts(merge)
    if (typeof a !== 'string' || typeof b !== 'string' || more.length > 0)
      return wrong(`has a merge that is no pair: ${shownId(merge)}`)
    const odd = [a, b, a + b].find((token) => !vocab.has(token))
    if (odd !== undefined)
      return wrong(`merges ${quoted(a)} and ${quoted(b)}, but ${quoted(odd)} is no token`)
  }
  return E.right(undefined)
}

const uses = (component: unknown, type: string): boolean =>
  isObject(component) &&
  (component.type === type ||
    [component.normalizers, component.pretokenizers].some((list) =>
      objects(list).some((inner) => uses(inner, type)),
    ))

const bytes = Array.from({ length: 256 }, (_, byte) => byte)

/** GPT-2's letters for bytes: those that can be seen stand for themselves, the others for 256 and up in their order. */
const isSeen = (byte: number): boolean =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte !== 0xad)
const unseen = bytes.filter((byte) => !isSeen(byte))
const byteLetter = (byte: number): string =>
  String.fromCharCode(isSeen(byte) ? byte : 256 + unseen.indexOf(byte))

const byteToken = (byte: number): string =>
  `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`

/** Left: text that the tokenizer would leave out without a trace. */
const checkCover = (
  json: JsonObject,
  model: JsonObject,
  ids: Vocabulary,
): E.Either<string, void> => {
  const unknown = model.unk_token ?? null
  if (unknown !== null && !(typeof unknown === 'string' && ids.has(unknown)))
    return wrong(`names the unk_token ${shownId(unknown)}, which is no token`)
  if (unknown !== null) return E.right(undefined)
  const name =
    uses(json.pre_tokenizer, 'ByteLevel') || uses(json.normalizer, 'ByteLevel')
      ? byteLetter
      : model.byte_fallback === true
        ? byteToken
        : null
  if (name === null)
    return wrong('has neither tokens for bytes nor an unk_token, so it would drop characters')
  const missing = bytes.find((byte) => !ids.has(name(byte)))
  return missing === undefined
    ? E.right(undefined)
    : wrong(
        `has no token for the byte ${byteToken(missing).slice(1, -1)} and no unk_token, so it would drop characters`,
      )
}

/** Left: what is wrong with it, to stand after "the tokenizer". */
export const readVocabulary = (json: JsonObject): E.Either<string, Vocabulary> => {
  const model = isObject(json.model) ? json.model : {}
  return pipe(
    entriesOf(isObject(model.vocab) ? model.vocab : {}),
    E.chainFirst((vocab) => checkMerges(model.merges, vocab)),
    E.chain((vocab) => withAdded(vocab, json.added_tokens)),
    E.chainFirst((ids) => checkCover(json, model, ids)),
  )
}
