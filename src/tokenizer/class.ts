/**
 * The tokenizer classes of transformers 5 that take only vocabulary, merges, added tokens and post-processor of a
 * tokenizer.json and split text by rules of their own. Every other class uses the file as it stands.
 */
import type { JsonObject } from './json.ts'
import { isObject } from './json.ts'
import type { TokenizerFiles } from './special.ts'

export type Kind = 'LlamaTokenizer' | 'CodeLlamaTokenizer' | 'Qwen2Tokenizer' | 'GPT2Tokenizer'

/** The class that the files name, in either generation's spelling; null: none. */
export const declaredClass = ({ tokenizerConfig, config }: TokenizerFiles): string | null => {
  const name = tokenizerConfig?.tokenizer_class ?? config?.tokenizer_class
  return typeof name === 'string' ? name.replace(/Fast$/, '') : null
}

/** As AutoTokenizer chooses. A Mistral's is never built anew, a Qwen2's always; Llama 3 names the class of Llama 2. */
export const kindOf = (files: TokenizerFiles): Kind | null => {
  const family = files.config?.model_type
  if (family === 'qwen2') return 'Qwen2Tokenizer'
  if (family === 'mistral') return null
  const name = declaredClass(files)
  if (name === 'LlamaTokenizer')
    return JSON.stringify(files.tokenizer).includes('"ByteLevel"') ? null : name
  return name === 'CodeLlamaTokenizer' || name === 'Qwen2Tokenizer' || name === 'GPT2Tokenizer'
    ? name
    : null
}

/** What each class calls its tokens where the files are silent. */
export const classTokens: Readonly<Record<Kind, Readonly<Record<string, string>>>> = {
  LlamaTokenizer: { bos_token: '<s>', eos_token: '</s>' },
  CodeLlamaTokenizer: { bos_token: '<s>', eos_token: '</s>' },
  Qwen2Tokenizer: { eos_token: '<|endoftext|>', pad_token: '<|endoftext|>' },
  GPT2Tokenizer: { bos_token: '<|endoftext|>', eos_token: '<|endoftext|>' },
}

const MARK = '▁'

type Scheme = 'always' | 'first' | 'never'

const sentencePiece = (scheme: Scheme, strips: boolean): JsonObject => ({
  normalizer: null,
  pre_tokenizer: { type: 'Metaspace', replacement: MARK, prepend_scheme: scheme, split: false },
  decoder: {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: MARK }, content: ' ' },
      { type: 'ByteFallback' },
      { type: 'Fuse' },
      ...(strips ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
    ],
  },
})

const qwenWords = String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`

/** The rules of a class, and how its model treats what it does not know. */
const rules = (kind: Kind, config: JsonObject): JsonObject => {
  const prefix = config.add_prefix_space
  if (kind === 'Qwen2Tokenizer' || kind === 'GPT2Tokenizer') {
    const qwen = kind === 'Qwen2Tokenizer'
    const bytes = { type: 'ByteLevel', add_prefix_space: prefix === true, use_regex: !qwen }
    const words = {
      type: 'Split',
      pattern: { Regex: qwenWords },
      behavior: 'Isolated',
      invert: false,
    }
    return {
      normalizer: qwen ? { type: 'NFC' } : null,
      pre_tokenizer: qwen ? { type: 'Sequence', pretokenizers: [words, bytes] } : bytes,
      decoder: { type: 'ByteLevel' },
    }
  }
  const prepends = prefix === undefined || prefix === null || prefix === true
  const code = kind === 'CodeLlamaTokenizer'
  // `legacy` is false where nothing is said, unlike in transformers 4.
  const scheme = !code && config.legacy === true ? 'always' : 'first'
  return sentencePiece(prepends ? scheme : 'never', code || prepends)
}

const modelOf = (kind: Kind, model: JsonObject): JsonObject => {
  const llama = kind === 'LlamaTokenizer' || kind === 'CodeLlamaTokenizer'
  return {
    type: model.type,
    vocab: model.vocab,
    merges: model.merges,
    dropout: null,
    unk_token: kind === 'CodeLlamaTokenizer' ? model.unk_token : null,
    fuse_unk: llama,
    byte_fallback: llama,
    ignore_merges: false,
  }
}

/** Whether a file says all of that, and perhaps more. */
const says = (written: unknown, rule: unknown): boolean => {
  if (Array.isArray(rule))
    return (
      Array.isArray(written) &&
      written.length === rule.length &&
      rule.every((r, i) => says(written[i], r))
    )
  if (isObject(rule))
    return isObject(written) && Object.entries(rule).every(([k, v]) => says(written[k], v))
  return (written ?? null) === rule
}

export interface Rebuilt {
  readonly json: JsonObject
  /** Whether the class splits text by other rules than its file writes down. */
  readonly differs: boolean
}

/** The tokenizer.json of the tokenizer that the class builds. */
export const rebuilt = (kind: Kind, files: TokenizerFiles): Rebuilt => {
  const { tokenizer: json, tokenizerConfig = {} } = files
  const own = rules(kind, tokenizerConfig)
  const model = isObject(json.model) ? modelOf(kind, json.model) : json.model
  return { json: { ...json, ...own, model }, differs: !says(json, own) }
}
