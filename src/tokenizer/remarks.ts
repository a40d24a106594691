/** Where the files of a tokenizer contradict one another: transformers chooses, and so do we, but not in silence. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { kindOf, rebuilt } from './class.ts'
import { effective } from './effective.ts'
import { isObject } from './json.ts'
import { around, listedIds, namedToken, type TokenizerFiles } from './special.ts'
import { readFiles } from './files.ts'
import { readVocabulary } from './vocabulary.ts'

const shown = (value: unknown): string => JSON.stringify(isObject(value) ? value.content : value)

const ofClass = (files: TokenizerFiles): ReadonlyArray<string> => {
  const kind = kindOf(files)
  return kind !== null && rebuilt(kind, files).differs
    ? [
        `the tokenizer is a ${kind}: transformers 5 splits text by the rules of that class and not by those in tokenizer.json, and so does tunec (transformers 4 follows the file)`,
      ]
    : []
}

const ofNames = ({ tokenizerConfig, specialTokensMap }: TokenizerFiles): ReadonlyArray<string> => {
  const [config, map] = [tokenizerConfig ?? {}, specialTokensMap ?? {}]
  if ('added_tokens_decoder' in config) return []
  return (['bos_token', 'eos_token'] as const).flatMap((name) =>
    name in map && name in config && shown(map[name]) !== shown(config[name])
      ? [
          `${name} is ${shown(map[name])} in special_tokens_map.json, which is used as in transformers 5, and ${shown(config[name])} in tokenizer_config.json`,
        ]
      : [],
  )
}

const list = (ids: ReadonlyArray<unknown>): string => ids.join(', ')

const ofEnds = (files: TokenizerFiles, end: number | undefined): ReadonlyArray<string> => {
  const listed = listedIds(files, 'eos_token')
  const place = files.generationConfig === undefined ? 'config.json' : 'generation_config.json'
  const given = files.config?.eos_token_id ?? []
  const idle =
    files.generationConfig === undefined
      ? []
      : [given].flat().filter((id) => id !== end && !listed.includes(id as number))
  return [
    ...(end !== undefined && listed.length > 0 && !listed.includes(end)
      ? [
          `the tokenizer ends with ${end} and ${place} lists ${list(listed)}: answers are trained to end with ${end}, and stop at any of them`,
        ]
      : []),
    ...(idle.length > 0
      ? [
          `the eos_token_id ${list(idle)} of config.json has no effect: generation_config.json decides, as in transformers`,
        ]
      : []),
  ]
}

const ofSurroundings = (
  files: TokenizerFiles,
  vocabulary: ReadonlyMap<string, number>,
): ReadonlyArray<string> => {
  const put = around(files, (token) => vocabulary.get(token))
  if (E.isLeft(put)) return []
  const { before, after } = put.right
  const texts = new Map([...vocabulary].map(([token, id]) => [id, token]))
  const names = (ids: ReadonlyArray<number>): string => ids.map((id) => texts.get(id)).join('')
  const asked = files.tokenizerConfig?.add_bos_token
  return [
    ...(typeof asked === 'boolean' && asked !== before.length > 0
      ? [
          `tokenizer_config.json says add_bos_token ${asked}, but tokenizer.json ${before.length > 0 ? `begins a text with ${names(before)}` : 'puts nothing before a text'}: that is followed, as in transformers 5 (version 4 may not)`,
        ]
      : []),
    ...(after.length > 0
      ? [
          `tokenizer.json puts ${names(after)} after a text: answers end with the end token, prompts do not end with it here`,
        ]
      : []),
  ]
}

const remarksOf = (files: TokenizerFiles): E.Either<string, ReadonlyArray<string>> =>
  pipe(
    effective(files),
    E.bindTo('is'),
    E.bind('vocabulary', ({ is }) => readVocabulary(is.tokenizer)),
    E.map(({ is, vocabulary }) => [
      ...ofClass(files),
      ...ofNames(files),
      ...ofSurroundings(is, vocabulary),
      ...ofEnds(files, vocabulary.get(namedToken(files, 'eos_token') ?? '')),
    ]),
  )

/** Of a folder whose tokenizer can be used; one that cannot is refused when it is loaded, and nothing is said here. */
export const tokenizerRemarks = (folder: string): ReadonlyArray<string> =>
  pipe(
    readFiles(folder),
    E.chainW(remarksOf),
    E.getOrElse((): ReadonlyArray<string> => []),
  )
