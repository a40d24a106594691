/** The JSON files of a model folder that speak of its tokenizer. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { join } from 'node:path'
import { issue, type Issue } from '../issue.ts'
import { readJson } from './json.ts'
import type { TokenizerFiles } from './special.ts'

/** Left: a missing tokenizer.json, or a file that is not read. */
export const readFiles = (folder: string): E.Either<Issue, TokenizerFiles> =>
  pipe(
    E.Do,
    E.apS(
      'tokenizer',
      pipe(
        readJson(folder, 'tokenizer.json'),
        E.chain(
          E.fromPredicate(
            (json) => json !== undefined,
            () =>
              issue('the model folder has no tokenizer.json', {
                file: join(folder, 'tokenizer.json'),
                hint: "save one with transformers: AutoTokenizer.from_pretrained('…').save_pretrained('…')",
              }),
          ),
        ),
      ),
    ),
    E.apS('tokenizerConfig', readJson(folder, 'tokenizer_config.json')),
    E.apS('specialTokensMap', readJson(folder, 'special_tokens_map.json')),
    E.apS('generationConfig', readJson(folder, 'generation_config.json')),
    E.apS('config', readJson(folder, 'config.json')),
  )
