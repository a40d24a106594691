/** Checks of `adapter`, `quantization`, `generation` and `compiler` against each other. */
import { problem, when, type Check } from './check.ts'

const quantized: Check = {
  reads: ['adapter', 'quantization', 'trainer.type', 'input_features'],
  find: ({ adapter, quantization, trainer, input_features: [{ encoder }] }) => {
    const trained = trainer.type !== 'none' && encoder?.trainable !== false
    return when(quantization !== null && adapter === null && trained, () =>
      problem(
        'quantization',
        'quantized weights cannot be trained themselves',
        'add `adapter: {type: lora}`, or remove `quantization`',
      ),
    )
  },
}

/** PEFT refuses these too. */
const layers: Check = {
  reads: ['adapter', 'quantization'],
  find: ({ adapter: a, quantization }) => [
    ...when(
      a !== null &&
        a.layers_to_transform !== null &&
        typeof a.target_modules === 'string' &&
        a.target_modules !== 'all-linear',
      () =>
        problem(
          'adapter.layers_to_transform',
          'a regular expression for target_modules says itself which layers it means',
          'leave it out, or write target_modules as a list',
        ),
    ),
    ...when(
      a !== null &&
        a.init_lora_weights === 'orthogonal' &&
        [a.r, ...Object.values(a.rank_pattern ?? {})].some((r) => r % 2 !== 0),
      () =>
        problem(
          'adapter.init_lora_weights',
          'orthogonal splits the rank in two halves, and a rank is odd',
          'write `init_lora_weights: default`, or an even rank',
        ),
    ),
    ...when(
      a !== null &&
        quantization !== null &&
        a.pretrained_adapter_weights === null &&
        (a.init_lora_weights === 'pissa' || a.init_lora_weights === 'olora'),
      () =>
        problem(
          'adapter.init_lora_weights',
          'what such an adapter takes out of the weights would be lost in rounding the rest',
          'write `init_lora_weights: default`, or remove `quantization`',
        ),
    ),
  ],
}

const untrained: Check = {
  reads: ['adapter', 'trainer.type'],
  find: ({ adapter, trainer }, given) =>
    when(
      adapter !== null && adapter.pretrained_adapter_weights === null && trainer.type === 'none',
      () =>
        problem(
          'adapter',
          'an adapter that is never trained changes nothing',
          given('trainer.type')
            ? 'remove it, or write `type: finetune` in `trainer`'
            : 'add `trainer: {type: finetune}`: without a trainer nothing is trained, as in Ludwig',
        ),
    ),
}

const computeDtype: Check = {
  reads: ['quantization', 'compiler.compute_dtype'],
  find: ({ quantization, compiler }) => {
    const asked = quantization?.bnb_4bit_compute_dtype ?? null
    const own = compiler.compute_dtype
    // Beside its products float8 computes in bfloat16.
    const plain = own === 'float8' ? 'bfloat16' : own
    return when(asked !== null && own !== 'auto' && asked !== plain, () =>
      problem(
        'compiler.compute_dtype',
        `compute_dtype ${own} contradicts quantization.bnb_4bit_compute_dtype ${asked}`,
        'keep one of them',
      ),
    )
  },
}

const eightBits: Check = {
  reads: ['quantization', 'compiler.compute_dtype'],
  find: ({ quantization, compiler }) =>
    when(quantization?.bits === 8 && compiler.compute_dtype === 'float8', () =>
      problem(
        'compiler.compute_dtype',
        'weights of 8-bit integers are multiplied as such, and not as 8-bit floats',
        'write `compute_dtype: bfloat16`, or `bits: 4` in `quantization`',
      ),
    ),
}

const recompute: Check = {
  reads: ['compiler.recompute', 'compiler.memory_budget', 'trainer.enable_gradient_checkpointing'],
  find: ({ compiler, trainer }) => {
    const { recompute: policy } = compiler
    const checkpoints = trainer.enable_gradient_checkpointing
    const contradicts = checkpoints ? policy === 'none' : policy === 'layers' || policy === 'budget'
    return [
      ...when(contradicts, () =>
        problem(
          'compiler.recompute',
          `recompute: ${policy} contradicts trainer.enable_gradient_checkpointing: ${checkpoints}`,
          'keep one of them',
        ),
      ),
      ...when(policy === 'budget' && compiler.memory_budget === null, () =>
        problem(
          'compiler.recompute',
          'recompute: budget needs a budget',
          'add `memory_budget: 16GB` beside it',
        ),
      ),
    ]
  },
}

const sampling: Check = {
  reads: ['generation'],
  find: ({ generation: { do_sample, temperature, min_new_tokens, max_new_tokens } }) => [
    ...when(do_sample && temperature === 0, () =>
      problem(
        'generation.temperature',
        'nothing can be sampled at temperature 0',
        'for the most likely token each time, write `do_sample: false`',
      ),
    ),
    ...when(
      min_new_tokens !== null && max_new_tokens !== null && min_new_tokens > max_new_tokens,
      () =>
        problem(
          'generation.min_new_tokens',
          `min_new_tokens ${min_new_tokens} is more than max_new_tokens ${max_new_tokens}`,
        ),
    ),
  ],
}

export const modelChecks: ReadonlyArray<Check> = [
  quantized,
  layers,
  untrained,
  computeDtype,
  eightBits,
  recompute,
  sampling,
]
