/**
 * Brings a tokenizer.json into the form that the library computes exactly as Hugging Face's Rust code does, and refuses
 * what it cannot. The rewrites replace components whose JavaScript regular expressions differ (`\d` is ASCII there, `\s`
 * has other members) by splits with the pattern spelled out, and one component that ignores an option by two that do not.
 */
import * as E from 'fp-ts/lib/Either.js'
import { isObject, objects, type JsonObject } from './json.ts'

/** Left: what the library cannot reproduce, to stand after "the tokenizer". */
type Adapt = (component: JsonObject) => E.Either<string, JsonObject>

const split = (regex: string, keep: 'matches' | 'all'): JsonObject => ({
  type: 'Split',
  pattern: { Regex: regex },
  behavior: keep === 'all' ? 'Isolated' : 'Removed',
  invert: keep === 'matches',
})

const sequence = (pretokenizers: ReadonlyArray<JsonObject>): JsonObject => ({
  type: 'Sequence',
  pretokenizers,
})

/** Anchors, POSIX brackets, atomic groups and possessive quantifiers that JavaScript has no equal for. */
const beyondJavaScript: ReadonlyArray<readonly [name: string, pattern: RegExp]> = [
  ['\\G', /(?:^|[^\\])(?:\\\\)*\\G/],
  ['an atomic group', /\(\?>/],
  ['a possessive quantifier', /(?:^|[^\\])(?:\\\\)*[*+?]\+/],
  ['a POSIX collating element', /\[\[[.=]/],
]

const checkRegex = (regex: string): E.Either<string, string> => {
  const found = beyondJavaScript.find(([, pattern]) => pattern.test(regex))
  return found ? E.left(`splits by a regular expression with ${found[0]}`) : E.right(regex)
}

const escapeRegex = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')

const patternOf = (pattern: unknown): E.Either<string, string> => {
  if (isObject(pattern) && typeof pattern.Regex === 'string') return checkRegex(pattern.Regex)
  if (isObject(pattern) && typeof pattern.String === 'string')
    return E.right(escapeRegex(pattern.String))
  return E.left('has a pattern that is neither a string nor a regular expression')
}

const adaptSplit: Adapt = (component) => {
  const { behavior, invert } = component
  if (behavior === 'Isolated')
    return E.map((regex: string) => split(regex, 'all'))(patternOf(component.pattern))
  if (behavior === 'Removed' && invert === true)
    return E.map((regex: string) => split(regex, 'matches'))(patternOf(component.pattern))
  return E.left(
    `splits with the behaviour ${String(behavior)}${invert === true ? ', inverted' : ''}`,
  )
}

const byteLevelWords = String.raw`'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

/** The prefix space comes before splitting, so it moves into a step of its own: a space for every space, and one first. */
const adaptByteLevel: Adapt = (component) => {
  const prefix = component.add_prefix_space === true
  const bytes = { ...component, add_prefix_space: false, use_regex: false }
  const space = { type: 'Metaspace', replacement: ' ', prepend_scheme: 'always' }
  return E.right(
    sequence([
      ...(prefix ? [space] : []),
      ...(component.use_regex === false ? [] : [split(byteLevelWords, 'all')]),
      bytes,
    ]),
  )
}

const adaptDigits: Adapt = (component) =>
  E.right(
    split(component.individual_digits === true ? String.raw`\p{N}` : String.raw`\p{N}+`, 'all'),
  )

/** `split` cuts before every ▁; older files say `add_prefix_space` for `prepend_scheme`. */
const adaptMetaspace: Adapt = (component) => {
  const { replacement = '▁', split: cuts = true, add_prefix_space: prefix } = component
  if (typeof replacement !== 'string' || replacement.length !== 1)
    return E.left('replaces spaces by something other than one character')
  const scheme = component.prepend_scheme ?? (prefix === false ? 'never' : 'always')
  const mark = escapeRegex(replacement)
  const spaces = { type: 'Metaspace', replacement, prepend_scheme: scheme }
  return E.right(
    cuts === true ? sequence([spaces, split(`${mark}[^${mark}]*|[^${mark}]+`, 'matches')]) : spaces,
  )
}

/** Applies `adapt` to every member of the list under `key`. */
const each =
  (key: string, adapt: Adapt): Adapt =>
  (component) => {
    const adapted: Array<JsonObject> = []
    for (const member of objects(component[key])) {
      const one = adapt(member)
      if (E.isLeft(one)) return one
      adapted.push(one.right)
    }
    return E.right({ ...component, [key]: adapted })
  }

const oneOf =
  (what: string, table: Readonly<Record<string, Adapt>>): Adapt =>
  (component) => {
    const type = String(component.type)
    const adapt = Object.hasOwn(table, type) ? table[type] : undefined
    return adapt ? adapt(component) : E.left(`uses the ${what} ${type}, which is not supported`)
  }

const adaptReplace: Adapt = (component) => {
  const { content = '' } = component
  if (typeof content !== 'string' || content.includes('$'))
    return E.left('replaces text by something with a `$`, which the library reads as a reference')
  return E.map((regex: string) => ({ type: 'Replace', pattern: { Regex: regex }, content }))(
    patternOf(component.pattern),
  )
}

const asItIs: Adapt = E.right

const normalizer: Adapt = oneOf('normalizer', {
  NFC: asItIs,
  NFD: asItIs,
  NFKC: asItIs,
  NFKD: asItIs,
  Prepend: asItIs,
  Replace: adaptReplace,
  Sequence: (component) => each('normalizers', normalizer)(component),
})

const preTokenizer: Adapt = oneOf('pre-tokenizer', {
  ByteLevel: adaptByteLevel,
  Digits: adaptDigits,
  Metaspace: adaptMetaspace,
  Split: adaptSplit,
  Sequence: (component) => each('pretokenizers', preTokenizer)(component),
})

const decoder: Adapt = oneOf('decoder', {
  ByteLevel: asItIs,
  ByteFallback: asItIs,
  Fuse: asItIs,
  Replace: adaptReplace,
  Strip: asItIs,
  Sequence: (component) => each('decoders', decoder)(component),
})

const isSet = (value: unknown): boolean => value !== undefined && value !== null && value !== ''

const model: Adapt = (component) => {
  if (component.type !== 'BPE') return E.left(`is of the kind ${String(component.type)}, not BPE`)
  if (!isObject(component.vocab) || !Array.isArray(component.merges))
    return E.left('has no vocabulary and merges')
  if (isSet(component.dropout) && component.dropout !== 0)
    return E.left('drops merges at random (`dropout`)')
  if (isSet(component.continuing_subword_prefix) || isSet(component.end_of_word_suffix))
    return E.left('marks the inside or the end of words with a prefix or suffix')
  return E.right(component)
}

const addedToken: Adapt = (token) =>
  token.single_word === true
    ? E.left(`has an added token that matches whole words only: ${JSON.stringify(token.content)}`)
    : E.right(token)

const optional =
  (adapt: Adapt) =>
  (value: unknown): E.Either<string, JsonObject | null> =>
    isObject(value) ? adapt(value) : E.right(null)

/** The tokenizer.json to give to the library; it never adds special tokens, that is done by id. Left: why it cannot be used. */
export const adaptTokenizer = (json: JsonObject): E.Either<string, JsonObject> => {
  const parts = {
    model: isObject(json.model) ? model(json.model) : E.left('has no model'),
    normalizer: optional(normalizer)(json.normalizer),
    pre_tokenizer: optional(preTokenizer)(json.pre_tokenizer),
    decoder: optional(decoder)(json.decoder),
    added: each('added_tokens', addedToken)({ added_tokens: json.added_tokens ?? [] }),
  }
  if (E.isLeft(parts.model)) return parts.model
  if (E.isLeft(parts.normalizer)) return parts.normalizer
  if (E.isLeft(parts.pre_tokenizer)) return parts.pre_tokenizer
  if (E.isLeft(parts.decoder)) return parts.decoder
  if (E.isLeft(parts.added)) return parts.added
  return E.right({
    model: parts.model.right,
    normalizer: parts.normalizer.right,
    pre_tokenizer: parts.pre_tokenizer.right,
    decoder: parts.decoder.right,
    post_processor: null,
    ...parts.added.right,
  })
}
