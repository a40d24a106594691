/** adapter_config.json as PEFT writes and reads it. */
import fs from 'node:fs/promises'
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import * as t from 'io-ts'
import type { Lora } from '../../passes/index.ts'
import { issue, type Issue } from '../issue.ts'
import { attempt } from '../tensors/os.ts'
import { decodeText, parseJsonText } from '../text-file.ts'
import { isObject, type JsonObject } from '../tokenizer/json.ts'

export const configName = 'adapter_config.json'

/** The keys that every PEFT since LoRA came knows; sorted, as PEFT sorts them. */
export const configText = (lora: Lora, baseModel: string): string => {
  const keys = {
    alpha_pattern: {},
    base_model_name_or_path: baseModel,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    lora_alpha: lora.alpha,
    lora_dropout: lora.dropout,
    modules_to_save: null,
    peft_type: 'LORA',
    r: lora.r,
    rank_pattern: {},
    target_modules: lora.targets,
    task_type: 'CAUSAL_LM',
    use_dora: false,
    use_rslora: false,
  }
  return `${JSON.stringify(keys, null, 2)}\n`
}

/** What an adapter says of itself. */
export interface AdapterConfig {
  readonly r: number
  readonly alpha: number
  /** Module names, or a word or pattern that only PEFT understands. */
  readonly targets: ReadonlyArray<string> | string
}

const core = t.type({ peft_type: t.string, r: t.number, lora_alpha: t.number })

const empty = (v: unknown): boolean =>
  v === undefined ||
  v === null ||
  v === false ||
  (typeof v === 'object' && Object.keys(v).length === 0)

/** Techniques beyond plain LoRA: each changes what the tensors mean. */
const beyond: ReadonlyArray<readonly [key: string, plain: (v: unknown) => boolean]> = [
  ['bias', (v) => empty(v) || v === 'none'],
  ...[
    'use_dora',
    'use_rslora',
    'use_qalora',
    'use_bdlora',
    'lora_bias',
    'fan_in_fan_out',
    'modules_to_save',
    'rank_pattern',
    'alpha_pattern',
    'layer_replication',
    'target_parameters',
    'trainable_token_indices',
    'alora_invocation_tokens',
  ].map((key) => [key, empty] as const),
]

const wrong = (message: string, more: Omit<Issue, 'message'> = {}): E.Either<Issue, never> =>
  E.left(issue(message, more))

const configOf = (given: JsonObject): E.Either<Issue, AdapterConfig> => {
  const json: unknown = given
  if (!core.is(json))
    return wrong('this does not describe a LoRA adapter', {
      expected: 'peft_type, r and lora_alpha',
    })
  if (json.peft_type !== 'LORA')
    return wrong(`the adapter is of type ${json.peft_type}`, {
      path: 'peft_type',
      expected: 'LORA',
    })
  if (!Number.isSafeInteger(json.r) || json.r < 1 || !Number.isFinite(json.lora_alpha))
    return wrong(`the adapter has r ${json.r} and lora_alpha ${json.lora_alpha}`, {
      path: 'r',
      expected: 'a whole number of at least 1, and a finite number',
    })
  const odd = beyond.find(([key, plain]) => !plain(given[key]))
  if (odd !== undefined)
    return wrong(`the adapter sets ${odd[0]}, which is not supported`, {
      path: odd[0],
      expected: odd[0] === 'bias' ? 'none' : 'false, null or empty',
    })
  const targets = given['target_modules']
  return E.right({
    r: json.r,
    alpha: json.lora_alpha,
    targets: t.array(t.string).is(targets) ? targets : String(targets),
  })
}

/** Reads an adapter's config. Left: no such file, no LoRA, or a variant that would be computed wrongly. */
export const readAdapterConfig = (folder: string): TE.TaskEither<Issue, AdapterConfig> => {
  const file = join(folder, configName)
  return pipe(
    attempt('read the adapter', file, () => fs.readFile(file)),
    TE.chainEitherK((bytes) =>
      pipe(
        decodeText(bytes),
        E.chain(parseJsonText),
        E.filterOrElse(isObject, () => issue('the file does not hold a JSON object')),
        E.chain(configOf),
        E.mapLeft((i): Issue => ({ ...i, file })),
      ),
    ),
  )
}
