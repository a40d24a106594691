/** From the config's `adapter`, or the PEFT adapter that it goes on from, to the settings of its pass. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Ia3, Lora } from '../../passes/index.ts'
import { readAdapterConfig, type Adapter as Settings } from '../adapter/config.ts'
import type { Config } from '../config/schema/config.ts'
import { adapterPath } from '../hub/adapter-path.ts'
import type { Issue } from '../issue.ts'
import type { Adapter } from '../config/schema/adapter.ts'

/** PEFT's default for Llama, Mistral and Qwen2. */
const DEFAULT_TARGETS = ['q_proj', 'v_proj']
/** Every linear layer but the output head. */
const ALL_LINEAR = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

/** What is not set is left out: a plan shows what it is asked for. */
const loraOf = (a: Adapter): Lora => {
  const targets = a.target_modules ?? DEFAULT_TARGETS
  return {
    r: a.r,
    alpha: a.alpha,
    dropout: a.dropout,
    targets: targets === 'all-linear' ? ALL_LINEAR : targets,
    ...(a.rank_pattern === null ? {} : { ranks: a.rank_pattern }),
    ...(a.alpha_pattern === null ? {} : { alphas: a.alpha_pattern }),
    ...(a.layers_to_transform === null ? {} : { layers: a.layers_to_transform }),
    ...(a.layers_pattern === null ? {} : { layersPattern: a.layers_pattern }),
    ...(a.modules_to_save === null ? {} : { save: a.modules_to_save }),
    ...(a.use_rslora ? { rslora: true } : {}),
    ...(a.use_dora ? { dora: true } : {}),
    ...(a.init_lora_weights === 'default' ? {} : { init: a.init_lora_weights }),
    ...(a.bias_type === 'none' ? {} : { bias: a.bias_type }),
  }
}

/** PEFT's default for Llama and Mistral; Qwen2's queries stand for its keys. */
const VECTORS = {
  llama: ['k_proj', 'v_proj', 'down_proj'],
  mistral: ['k_proj', 'v_proj', 'down_proj'],
  qwen2: ['q_proj', 'v_proj', 'down_proj'],
}

const ia3Of = (a: Adapter, family: keyof typeof VECTORS): Ia3 => {
  const targets = a.target_modules ?? VECTORS[family]
  return {
    kind: 'ia3',
    targets: targets === 'all-linear' ? ALL_LINEAR : targets,
    inputs: a.feedforward_modules ?? ['down_proj'],
    ...(a.modules_to_save === null ? {} : { save: a.modules_to_save }),
  }
}

export const adapterOf = (a: Adapter, family: keyof typeof VECTORS = 'llama'): Settings =>
  a.type === 'ia3' ? ia3Of(a, family) : loraOf(a)

/** An adapter that a run goes on from. */
export interface Pretrained {
  readonly folder: string
  /** As it says itself. */
  readonly lora: Settings
}

/** Null: the adapter starts anew, or there is none. Left: a folder that holds no adapter of a kind that is known. */
export const pretrainedOf = (
  { adapter }: Config,
  folder: string,
): E.Either<Issue, Pretrained | null> => {
  const named = adapter?.pretrained_adapter_weights ?? null
  if (named === null) return E.right(null)
  const at = adapterPath(named, folder)
  return pipe(
    readAdapterConfig(at),
    E.map((lora): Pretrained => ({ folder: at, lora })),
    E.mapLeft((i) => ({ path: 'adapter.pretrained_adapter_weights', ...i })),
  )
}
