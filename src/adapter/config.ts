/** adapter_config.json as PEFT writes and reads it. */
import { join } from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as t from 'io-ts'
import type { Ia3, Lora } from '../../passes/index.ts'
import { regex } from '../../passes/targets.ts'
import type { Reference } from '../hub/reference.ts'
import { issue, type Issue } from '../issue.ts'
import { readJsonFile } from '../text-file.ts'
import { ia3Keys, ia3Of } from './ia3.ts'
import { isObject, type JsonObject } from '../tokenizer/json.ts'

export const configName = 'adapter_config.json'

/** An adapter's settings, whatever its kind. */
export type Adapter = Lora | Ia3

/** The keys that every PEFT since the adapter came knows; sorted, as PEFT sorts them. */
export const configText = (o: Adapter, base: Reference): string =>
  `${JSON.stringify(o.kind === 'ia3' ? ia3Keys(o, base) : loraKeys(o, base), null, 2)}\n`

const loraKeys = (lora: Lora, base: Reference): object => ({
  alpha_pattern: lora.alphas ?? {},
  base_model_name_or_path: base.name,
  bias: lora.bias ?? 'none',
  fan_in_fan_out: false,
  inference_mode: true,
  init_lora_weights: true,
  layers_pattern: lora.layersPattern ?? null,
  layers_to_transform: lora.layers ?? null,
  lora_alpha: lora.alpha,
  lora_dropout: lora.dropout,
  modules_to_save: lora.save ?? null,
  peft_type: 'LORA',
  r: lora.r,
  rank_pattern: lora.ranks ?? {},
  ...(base.revision === null ? {} : { revision: base.revision }),
  target_modules: lora.targets,
  task_type: 'CAUSAL_LM',
  use_dora: lora.dora ?? false,
  use_rslora: lora.rslora ?? false,
})

const listed = <A>(of: t.Type<A>) => t.readonlyArray(of)
const pattern = t.record(t.string, t.number)
const maybe = <A>(of: t.Type<A>) => t.union([of, t.null])

const codec = t.intersection([
  t.type({
    peft_type: t.string,
    r: t.number,
    lora_alpha: t.number,
    target_modules: t.union([listed(t.string), t.string]),
  }),
  t.partial({
    lora_dropout: t.number,
    rank_pattern: maybe(pattern),
    alpha_pattern: maybe(pattern),
    layers_to_transform: maybe(t.union([t.number, listed(t.number)])),
    layers_pattern: maybe(t.union([t.string, listed(t.string)])),
    modules_to_save: maybe(listed(t.string)),
    bias: t.union([t.literal('none'), t.literal('all'), t.literal('lora_only')]),
    use_rslora: maybe(t.boolean),
    use_dora: maybe(t.boolean),
  }),
])

const empty = (v: unknown): boolean =>
  v === undefined ||
  v === null ||
  v === false ||
  (typeof v === 'object' && Object.keys(v).length === 0)

/** Techniques that are not known here: each changes what the tensors mean. */
const beyond: ReadonlyArray<readonly [key: string, plain: (v: unknown) => boolean]> = [
  ...[
    'use_qalora',
    'use_bdlora',
    'lora_bias',
    'fan_in_fan_out',
    'exclude_modules',
    'layer_replication',
    'target_parameters',
    'trainable_token_indices',
    'alora_invocation_tokens',
    'arrow_config',
    'kasa_config',
    'monteclora_config',
    'velora_config',
  ].map((key) => [key, empty] as const),
  // Those that take something out of the base's weights, which PEFT does again when it loads.
  [
    'init_lora_weights',
    (v) => typeof v !== 'string' || ['gaussian', 'orthogonal', 'eva'].includes(v),
  ],
]

const wrong = (message: string, more: Omit<Issue, 'message'> = {}): E.Either<Issue, never> =>
  E.left(issue(message, more))

const many = <A>(v: A | ReadonlyArray<A>): ReadonlyArray<A> =>
  Array.isArray(v) ? (v as ReadonlyArray<A>) : [v as A]

const wholeRank = (r: number): boolean => Number.isSafeInteger(r) && r >= 1

/** Settings that mean something, in the words of the pass. */
const loraOf = (json: t.TypeOf<typeof codec>): Lora => {
  const { rank_pattern: ranks, alpha_pattern: alphas, bias = 'none' } = json
  const { layers_to_transform: layers, layers_pattern: of, modules_to_save: save } = json
  return {
    r: json.r,
    alpha: json.lora_alpha,
    dropout: json.lora_dropout ?? 0,
    targets: json.target_modules,
    ...(empty(ranks) ? {} : { ranks: ranks! }),
    ...(empty(alphas) ? {} : { alphas: alphas! }),
    ...(empty(layers) ? {} : { layers: many(layers!) }),
    ...(empty(of) ? {} : { layersPattern: many(of!) }),
    ...(empty(save) ? {} : { save: save! }),
    ...(bias === 'none' ? {} : { bias }),
    ...(json.use_rslora === true ? { rslora: true } : {}),
    ...(json.use_dora === true ? { dora: true } : {}),
  }
}

const configOf = (given: JsonObject): E.Either<Issue, Adapter> => {
  const type = given['peft_type']
  if (type === 'IA3') return ia3Of(given)
  if (typeof type === 'string' && type !== 'LORA')
    return wrong(`the adapter is of type ${type}`, { path: 'peft_type', expected: 'LORA or IA3' })
  const json: unknown = given
  if (!codec.is(json))
    return wrong('this does not describe a LoRA adapter', {
      expected: 'peft_type, r, lora_alpha and target_modules, and settings as PEFT writes them',
    })
  const { r, lora_alpha: alpha, rank_pattern: ranks } = json
  if (![r, ...Object.values(ranks ?? {})].every(wholeRank) || !Number.isFinite(alpha))
    return wrong(`the adapter has r ${r} and lora_alpha ${alpha}`, {
      path: 'r',
      expected: 'a whole number of at least 1, and a finite number',
    })
  const odd = beyond.find(([key, plain]) => !plain(given[key]))
  if (odd !== undefined)
    return wrong(`the adapter sets ${odd[0]}, which is not supported`, {
      path: odd[0],
      ...(odd[0] === 'init_lora_weights'
        ? {
            expected: 'true, gaussian or orthogonal',
            hint: 'its base is another one: save it from PEFT with path_initial_model_for_weight_conversion',
          }
        : { expected: 'false, null or empty' }),
    })
  const { target_modules: targets, alpha_pattern: alphas } = json
  const patterns = Object.keys({ ...ranks, ...alphas })
  const readable = [...patterns, ...(typeof targets === 'string' ? [targets] : [])]
  return readable.every((p) => regex(p) !== undefined)
    ? E.right(loraOf(json))
    : wrong('the adapter names its modules by a regular expression that only Python reads', {
        path: 'target_modules',
        expected: 'a list of module names',
      })
}

/** Reads an adapter's config. Left: no such file, another kind of adapter, or a variant that would be computed wrongly. */
export const readAdapterConfig = (folder: string): E.Either<Issue, Adapter> => {
  const file = join(folder, configName)
  return pipe(
    readJsonFile(file),
    E.filterOrElse(isObject, (json) =>
      json === undefined
        ? issue('there is no adapter', { expected: `a folder with ${configName}` })
        : issue('the file does not hold a JSON object'),
    ),
    E.chain(configOf),
    E.mapLeft((i): Issue => ({ ...i, file })),
  )
}
