/** Jobs that checks run: the bundled one, the tests' tiny one, and random small ones. */
import fs from 'node:fs'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { parseConfig, type Config } from '../../src/config/index.ts'
import { random } from '../../src/data/random.ts'
import type { Issues } from '../../src/issue.ts'
import type { Device } from '../../src/plan/device.ts'
import { planOf, type Plan } from '../../src/plan/plan.ts'
import { right } from '../../test/right.ts'

const examples = path.join(import.meta.dirname, '../../examples')

/** The plan of an example after a change of its config. */
export const examplePlan = (
  file: string,
  device: Device | null,
  change: (c: Config) => Config = (c) => c,
): Plan => {
  const at = path.join(examples, file)
  const { config } = right(parseConfig(fs.readFileSync(at, 'utf8'), { file: at }))
  return right(planOf(change(config), { folder: path.dirname(at), clock: () => 0, device }))
}

export const BUNDLED = 'code-instructions/qlora.yaml'
export const LLAMA = 'llama-2-7b/llama2_7b_4bit.yaml'

type Compute = Config['compiler']['compute_dtype']

export const computing =
  (compute: Compute) =>
  (c: Config): Config => ({ ...c, compiler: { ...c.compiler, compute_dtype: compute } })

export interface RandomJob {
  readonly name: string
  /** Null: the plan's own budget, all that is there. */
  readonly share: number | null
  readonly plan: (budget: number | null) => E.Either<Issues, Plan>
}

/** Widths that emulation can afford, and those of a GPU. */
const sizes = {
  small: {
    headDim: [4, 8, 16],
    heads: [1, 2, 4],
    intermediate: [12, 20, 48],
    vocab: [5, 24, 97],
    length: [4, 8, 13],
    rows: [1, 2],
    rank: [1, 2, 4],
  },
  large: {
    headDim: [16, 32, 64, 128],
    heads: [1, 2, 4, 8],
    intermediate: [48, 100, 172, 512],
    vocab: [40, 97, 256, 1000, 4096],
    length: [16, 31, 64, 200, 512],
    rows: [1, 2, 3, 8],
    rank: [1, 3, 4, 8, 16, 33],
  },
} as const

const TARGETS = ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']

/** The i-th job of a seed: another architecture, other techniques, another budget. */
export const randomJob = (
  folder: string,
  device: Device,
  scale: keyof typeof sizes,
  seed: number,
  i: number,
): RandomJob => {
  const draw = random(seed, i)
  const of = <T>(list: ReadonlyArray<T>): T => list[draw.below(list.length)]!
  const chance = (percent: number): boolean => draw.below(100) < percent
  const s = sizes[scale]
  const [headDim, heads] = [of(s.headDim), of(s.heads)]
  const kvHeads = of([1, 2, 4, 8].filter((n) => heads % n === 0))
  const shape = {
    model_type: 'llama',
    vocab_size: of(s.vocab),
    hidden_size: chance(70) ? headDim * heads : 16 * (1 + draw.below(12)),
    head_dim: headDim,
    intermediate_size: of(s.intermediate),
    num_hidden_layers: 1 + draw.below(3),
    num_attention_heads: heads,
    num_key_value_heads: kvHeads,
    tie_word_embeddings: chance(50),
    attention_bias: chance(25),
    mlp_bias: chance(25),
    max_position_embeddings: 1024,
    rms_norm_eps: 1e-5,
  }
  const [length, rows, compute] = [of(s.length), of(s.rows), of(['float32', 'bfloat16', 'float16'])]
  const lora = chance(85)
  const targets = TARGETS.filter(() => chance(50))
  const adapter = `adapter: {type: lora, r: ${of(s.rank)}, dropout: ${of([0, 0.1])}, target_modules: [${targets.length === 0 ? 'q_proj' : targets.join(', ')}]}`
  const bits = lora && chance(60)
  const nested = chance(50)
  const yaml = [
    'model_type: llm',
    `base_model: model-${i}`,
    'input_features: [{name: instruction, type: text}]',
    'output_features: [{name: output, type: text}]',
    ...(lora ? [adapter] : []),
    ...(bits ? [`quantization: {bits: 4, bnb_4bit_use_double_quant: ${nested}}`] : []),
    `preprocessing: {global_max_sequence_length: ${length}}`,
    `trainer: {type: finetune, batch_size: ${rows}, enable_gradient_checkpointing: ${chance(20)}}`,
    `compiler: {compute_dtype: ${compute}, row_length: ${length}${chance(40) ? `, micro_batch_rows: ${rows}` : ''}}`,
  ].join('\n')
  const at = path.join(folder, `model-${i}`)
  fs.mkdirSync(at, { recursive: true })
  fs.writeFileSync(path.join(at, 'config.json'), JSON.stringify(shape))
  return {
    name: `${i}: ${shape.hidden_size}x${shape.num_hidden_layers} ${heads}/${kvHeads}x${headDim} V ${shape.vocab_size}, ${rows}x${length} ${compute}${lora ? ' lora' : ''}${bits ? ' nf4' : ''}`,
    share: chance(25) ? null : 0.6 + 0.6 * (draw.next() / 2 ** 32),
    plan: (budget) =>
      E.chain(({ config }: { readonly config: Config }) =>
        planOf(
          { ...config, compiler: { ...config.compiler, memory_budget: budget } },
          { folder, clock: () => 0, device },
        ),
      )(parseConfig(yaml, { file: `job ${i}` })),
  }
}
