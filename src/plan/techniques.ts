/** From the config's words to the settings of the passes. */
import type { Target } from '../../backends/cuda/lower/context.ts'
import type { Float } from '../../ir/type.ts'
import type { Compute, Policy, Quantize } from '../../passes/index.ts'
import type { Config } from '../config/schema/config.ts'
import type { Base } from '../models/base.ts'
import type { Techniques } from '../pipeline.ts'
import { preferenceOf } from '../preference/preference.ts'
import { adapterOf, type Pretrained } from './adapter.ts'
import { keptAs, optimizerOf } from './optimizer.ts'

/** QLoRA's block sizes: 64 weights a scale, 256 scales a second-level scale. */
const BLOCK = 64
const NESTED = 256

const dtypes = { float32: 'f32', bfloat16: 'bf16', float16: 'f16', float8: 'float8' } as const

/** Turing multiplies no bfloat16. */
const halfOf = (target: Target | null): Float =>
  target !== null && target.arch < 80 ? 'f16' : 'bf16'

/** Said explicitly, or bfloat16 for a quantized base (Ludwig: float16, which needs loss scaling), else float32. */
export const computeDtype = (c: Config, target: Target | null = null): Compute => {
  const said = c.compiler.compute_dtype
  if (said !== 'auto') return dtypes[said]
  const quantized = c.quantization?.bnb_4bit_compute_dtype
  return quantized === undefined ? 'f32' : quantized === null ? halfOf(target) : dtypes[quantized]
}

/** `limit`: bytes that there are, null where nobody says. */
export const recomputePolicy = (c: Config, limit: number | null): Policy => {
  const { recompute } = c.compiler
  const kind =
    recompute !== 'auto'
      ? recompute
      : c.trainer.enable_gradient_checkpointing
        ? 'layers'
        : limit !== null
          ? 'budget'
          : 'none'
  return kind === 'budget' ? { _tag: 'budget', bytes: limit ?? 0 } : { _tag: kind }
}

/** Bytes that a config names itself. */
const namedBudget = ({ compiler: { memory_budget: said } }: Config): number | null =>
  said === 'auto' ? null : said

/** Heads over an encoder: alone where it is frozen. */
const headsOf = (c: Config): 'alone' | 'beside' | null => {
  const [{ encoder }] = c.input_features
  return c.model_type !== 'ecd' || encoder === null ? null : encoder.trainable ? 'beside' : 'alone'
}

const quantizeOf = (q: NonNullable<Config['quantization']>): Quantize =>
  q.bits === 8
    ? { threshold: q.llm_int8_threshold }
    : { block: BLOCK, nested: q.bnb_4bit_use_double_quant ? NESTED : null }

export const techniquesOf = (
  c: Config,
  limit: number | null = namedBudget(c),
  target: Target | null = null,
  pretrained: Pretrained | null = null,
  family: Base['spec']['family'] = 'llama',
): Techniques => {
  const { adapter: a, quantization: q } = c
  const { optimizer: o, gradient_clipping: clip } = c.trainer
  const frozen = c.trainer.type === 'none'
  const cached = c.input_features[0].preprocessing.cache_encoder_embeddings
  const heads = headsOf(c)
  const preference = preferenceOf(c.trainer)
  return {
    ...(heads === null ? {} : { heads }),
    ...(preference === null ? {} : { prefer: preference.loss }),
    lora: a === null ? null : (pretrained?.lora ?? adapterOf(a, family)),
    quantize: q === null || cached ? null : quantizeOf(q),
    compute: cached ? 'f32' : computeDtype(c, target),
    optimizer: {
      ...optimizerOf(o, c.trainer.learning_rate),
      clip: clip.clipglobalnorm === 0 ? null : clip.clipglobalnorm,
      ...((a?.loraplus_lr_ratio ?? null) === null ? {} : { ratioB: a!.loraplus_lr_ratio! }),
    },
    ...keptAs(o),
    recompute: frozen ? { _tag: 'none' } : recomputePolicy(c, limit),
    ...(c.model_parameters.neftune_noise_alpha === 0 || frozen || cached
      ? {}
      : { neftune: c.model_parameters.neftune_noise_alpha }),
    ...(c.trainer.layers_to_freeze_regex === null
      ? {}
      : { hold: c.trainer.layers_to_freeze_regex }),
    ...(frozen ? { frozen: true } : {}),
  }
}

/** A base that is quantized already keeps what its files hold in 16 bits. */
export const ofBase = (t: Techniques, { packed }: Base): Techniques =>
  t.quantize === null || packed === null || packed.plain.length === 0
    ? t
    : { ...t, quantize: { ...t.quantize, except: packed.plain } }
