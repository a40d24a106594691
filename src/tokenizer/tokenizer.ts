/** Text to token ids and back, by the tokenizer.json that lies beside a model's weights. */
import { createRequire } from 'node:module'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type * as Library from '@huggingface/tokenizers'
import { join } from 'node:path'
import { issue, type Issue } from '../issue.ts'
import { adaptTokenizer } from './components.ts'
import { effective } from './effective.ts'
import { readFiles } from './files.ts'
import { checkNamedIds } from './named-ids.ts'
import { specialIds, type SpecialIds, type TokenizerFiles } from './special.ts'
import { readVocabulary, type Vocabulary } from './vocabulary.ts'

export interface Tokenizer {
  /** Special tokens written out in the text become their ids. `addBos` puts BOS first if the tokenizer has one. */
  readonly encode: (text: string, options?: { readonly addBos?: boolean }) => ReadonlyArray<number>
  /** Ids the vocabulary lacks are passed over; `skipSpecial` leaves special tokens out of the text. */
  readonly decode: (
    ids: ReadonlyArray<number>,
    options?: { readonly skipSpecial?: boolean },
  ) => string
  /** What the tokenizer puts before a text; null when it puts nothing there. */
  readonly bosId: number | null
  /** Every id that ends a text; the first is the one to end an answer with. May be empty. */
  readonly eosIds: ReadonlyArray<number>
  readonly padId: number | null
  /** One more than the largest id. */
  readonly vocabSize: number
}

/** Loads the library when a tokenizer is first wanted, and at once: compiling a config is synchronous. */
const require = createRequire(import.meta.url)

/** The part of the library's class that is used. */
interface Engine {
  readonly encode: (
    text: string,
    options: { add_special_tokens: boolean },
  ) => { readonly ids: ReadonlyArray<number> }
  readonly decode: (
    ids: Array<number>,
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ) => string
}

/** The library's byte-fallback decoder would drop U+FEFF from the text, which Hugging Face's keeps. */
const keepByteOrderMarks = (decoder: unknown): void => {
  const inner = typeof decoder === 'function' && 'decoders' in decoder ? decoder.decoders : []
  for (const step of [decoder, ...(Array.isArray(inner) ? inner : [])])
    if (typeof step === 'function' && 'text_decoder' in step)
      Object.assign(step, { text_decoder: new TextDecoder('utf-8', { ignoreBOM: true }) })
}

interface Made {
  readonly engine: Engine
  readonly vocabulary: Vocabulary
  readonly special: SpecialIds
}

const create = (written: TokenizerFiles, file: string): E.Either<Issue, Made> =>
  pipe(
    effective(written),
    E.bindTo('files'),
    E.bind('adapted', ({ files }) => adaptTokenizer(files.tokenizer)),
    E.bind('vocabulary', ({ files }) => readVocabulary(files.tokenizer)),
    E.bind('special', ({ files, vocabulary }) =>
      specialIds(files, (token) => vocabulary.get(token)),
    ),
    E.mapLeft((why) => `the tokenizer ${why}`),
    E.chain(({ adapted, vocabulary, special }) =>
      E.tryCatch(
        () => {
          const library = require('@huggingface/tokenizers') as typeof Library
          const engine = new library.Tokenizer(adapted, {})
          keepByteOrderMarks(engine.decoder)
          return { engine, vocabulary, special }
        },
        (error) =>
          `the tokenizer cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      ),
    ),
    E.mapLeft((message) =>
      issue(message, {
        file,
        hint: 'byte-level BPE and SentencePiece-style BPE as Llama, Mistral and Qwen2 use them are supported',
      }),
    ),
  )

const assemble = ({ engine, vocabulary, special }: Made): Tokenizer => {
  const known = new Set(vocabulary.values())
  const { bosId } = special
  return {
    ...special,
    vocabSize: [...known].reduce((max, id) => Math.max(max, id + 1), 0),
    encode: (text, { addBos = false } = {}) => {
      const { ids } = engine.encode(text, { add_special_tokens: false })
      return addBos && bosId !== null ? [bosId, ...ids] : ids
    },
    decode: (ids, { skipSpecial = false } = {}) => {
      const kept = ids.filter((id) => known.has(id))
      return kept.length === 0
        ? ''
        : engine.decode(kept, {
            skip_special_tokens: skipSpecial,
            clean_up_tokenization_spaces: false,
          })
    },
  }
}

/**
 * The tokenizer of a Hugging Face model folder; special ids come from its configuration files. The library is loaded
 * here, not before. Left: a missing or broken file, or a tokenizer the library does not compute as the original does.
 */
export const loadTokenizer = (folder: string): E.Either<Issue, Tokenizer> =>
  pipe(
    readFiles(folder),
    E.chain((files) =>
      pipe(
        create(files, join(folder, 'tokenizer.json')),
        E.chainFirst(({ vocabulary }) =>
          E.mapLeft((i: Issue): Issue => ({ file: folder, ...i }))(
            checkNamedIds(files, vocabulary),
          ),
        ),
        E.map(assemble),
      ),
    ),
  )
