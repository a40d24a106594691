/** The files beside a model's weights, copied so that a written folder stands on its own. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { issue, type Issue } from '../issue.ts'
import { attempt, ifExists } from '../tensors/os.ts'
import { decodeText, parseJsonText } from '../text-file.ts'
import { isObject } from '../tokenizer/json.ts'

/** What a tokenizer may consist of, in any generation of transformers. */
export const tokenizerFiles: ReadonlyArray<string> = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'chat_template.jinja',
]

const CONFIG = 'config.json'

/** Copies those of `names` that exist in `from`. */
export const copyFiles = (
  from: string,
  to: string,
  names: ReadonlyArray<string>,
): TE.TaskEither<Issue, void> =>
  attempt('copy the files of the model', from, async () => {
    for (const name of names) await ifExists(() => fs.copyFile(join(from, name), join(to, name)))
  })

/** Linear RoPE scaling that a run was trained with. */
export interface Scaling {
  readonly factor: number
}

/** A config.json of the same model with other positions, in the words of transformers 4 or 5, as the file has them. */
const scaled = (config: Readonly<Record<string, unknown>>, { factor }: Scaling): unknown => {
  const rope = { rope_type: 'linear', factor }
  const context = config['max_position_embeddings']
  return {
    ...config,
    ...(isObject(config['rope_parameters'])
      ? { rope_parameters: { rope_theta: config['rope_parameters']['rope_theta'], ...rope } }
      : { rope_scaling: rope }),
    ...(typeof context === 'number'
      ? { max_position_embeddings: Math.floor(context * factor) }
      : {}),
  }
}

const writeScaled = (from: string, to: string, scaling: Scaling): TE.TaskEither<Issue, void> => {
  const file = join(from, CONFIG)
  return pipe(
    attempt('read the file', file, () => fs.readFile(file)),
    TE.chainEitherK((bytes) =>
      pipe(
        decodeText(bytes),
        E.chain(parseJsonText),
        E.mapLeft((i): Issue => ({ ...i, file })),
      ),
    ),
    TE.filterOrElse(isObject, () => issue('the file does not hold a JSON object', { file })),
    TE.chain((config) =>
      attempt('write the file', to, () =>
        fs.writeFile(join(to, CONFIG), `${JSON.stringify(scaled(config, scaling), null, 2)}\n`),
      ),
    ),
  )
}

/** Everything of a model but its weights. */
export const copyModelFiles = (
  from: string,
  to: string,
  scaling: Scaling | null,
): TE.TaskEither<Issue, void> =>
  pipe(
    copyFiles(from, to, ['generation_config.json', ...tokenizerFiles]),
    TE.chain(() =>
      scaling === null ? copyFiles(from, to, [CONFIG]) : writeScaled(from, to, scaling),
    ),
  )
