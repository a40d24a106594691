/** A tiny job for tests of training: a base of a few thousand weights, samples it can learn, a plan over both. */
import fs from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import * as E from 'fp-ts/lib/Either.js'
import { random } from '../src/data/random.ts'
import type { Sample } from '../src/data/samples.ts'
import { parseConfig } from '../src/config/index.ts'
import { findBase } from '../src/models/base.ts'
import { compileWith } from '../src/plan/program.ts'
import type { Plan } from '../src/plan/plan.ts'
import { pretrainedOf } from '../src/plan/adapter.ts'
import { techniquesOf } from '../src/plan/techniques.ts'
import { fromF32, type FloatDtype } from '../src/tensors/convert.ts'
import { writeFolder } from '../src/tensors/writer.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { right } from './right.ts'

export const vocab = 24
const [hidden, intermediate, layers, heads, kvHeads] = [16, 20, 2, 2, 1]
const narrow = (hidden / heads) * kvHeads

const config = {
  model_type: 'llama',
  vocab_size: vocab,
  hidden_size: hidden,
  intermediate_size: intermediate,
  num_hidden_layers: layers,
  num_attention_heads: heads,
  num_key_value_heads: kvHeads,
  rms_norm_eps: 1e-5,
  tie_word_embeddings: true,
  max_position_embeddings: 64,
}

const block = (at: string): Readonly<Record<string, ReadonlyArray<number>>> => ({
  [`${at}.input_layernorm.weight`]: [hidden],
  [`${at}.post_attention_layernorm.weight`]: [hidden],
  [`${at}.self_attn.q_proj.weight`]: [hidden, hidden],
  [`${at}.self_attn.k_proj.weight`]: [narrow, hidden],
  [`${at}.self_attn.v_proj.weight`]: [narrow, hidden],
  [`${at}.self_attn.o_proj.weight`]: [hidden, hidden],
  [`${at}.mlp.gate_proj.weight`]: [intermediate, hidden],
  [`${at}.mlp.up_proj.weight`]: [intermediate, hidden],
  [`${at}.mlp.down_proj.weight`]: [hidden, intermediate],
})

const shapes: Readonly<Record<string, ReadonlyArray<number>>> = Object.assign(
  { 'model.embed_tokens.weight': [vocab, hidden], 'model.norm.weight': [hidden] },
  ...Array.from({ length: layers }, (_, i) => block(`model.layers.${i}`)),
)

export interface Tensor {
  readonly name: string
  readonly dtype: FloatDtype
  readonly shape: ReadonlyArray<number>
  readonly data: Uint8Array
}

/** The base's tensors: norms are ones, matrices uniform in ±0.6. */
export const baseTensors = (dtype: FloatDtype = 'BF16'): ReadonlyArray<Tensor> =>
  Object.entries(shapes).map(([name, shape], salt) => {
    const draw = random(7, salt)
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).map(() =>
      shape.length === 1 ? 1 : (draw.next() / 2 ** 32 - 0.5) * 1.2,
    )
    return { name, dtype, shape, data: fromF32(dtype, values) }
  })

export const writeBase = async (
  folder: string,
  tensors: ReadonlyArray<Tensor> = baseTensors(),
  changes: Readonly<Record<string, unknown>> = {},
): Promise<void> => {
  right(await writeFolder(folder, tensors, { maxShardBytes: 1e9 })())
  await fs.writeFile(path.join(folder, 'config.json'), JSON.stringify({ ...config, ...changes }))
  await fs.writeFile(path.join(folder, 'tokenizer.json'), '{"a tokenizer": true}')
}

/** Prompts of two symbols whose answer is their sum, spelt with a second token, and an end. */
export const samplesOf = (n: number, from = 0): ReadonlyArray<Sample> =>
  Array.from({ length: n }, (_, i) => {
    const [a, b] = [(i + from) % 7, (3 * (i + from) + 1) % 5]
    const target = [10 + ((a + b) % 8), ...(i % 3 === 0 ? [19] : []), 2]
    return { row: i + from, prompt: [1, 3 + a, 3 + b], target }
  })

export const yaml = (trainer = '', rest = ''): string => `model_type: llm
base_model: base
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
adapter:
  type: lora
  r: 2
  dropout: 0
  target_modules: [q_proj, v_proj]
trainer:
  type: finetune
  learning_rate: 0.02
  epochs: 3
  batch_size: 2
  gradient_accumulation_steps: 2
  optimizer: { type: adamw }
${trainer}
${rest}
`

export interface Rows {
  readonly train: ReadonlyArray<Sample>
  readonly validation: ReadonlyArray<Sample>
  readonly test: ReadonlyArray<Sample>
}

export const someRows: Rows = {
  train: samplesOf(10),
  validation: samplesOf(4, 10),
  test: samplesOf(3, 14),
}

/** The plan of a YAML text over samples, as `planOf` would give it, without reading a table. */
export const planFor = (
  folder: string,
  text: string,
  samples: Rows = someRows,
  [rows, length] = [2, 12],
): Plan => {
  const { config: c } = right(parseConfig(text, { file: 'job.yaml' }))
  const base = right(findBase(c.base_model, folder))
  const pretrained = right(pretrainedOf(c, folder))
  const techniques = techniquesOf(c, null, null, pretrained)
  const all = [...samples.train, ...samples.validation, ...samples.test]
  const most = Math.max(...all.map((s) => s.row)) + 1
  const made = { rows: rows!, length: length!, generate: { batch: 1, prompt: 8, capacity: 12 } }
  const compiled = right(compileWith(base, techniques, made, () => 0))
  const lines = Array.from({ length: most }, (_, i) => i + 2)
  return {
    config: c,
    folder,
    base,
    pretrained,
    data: {
      table: {
        file: 'rows.csv',
        columns: ['instruction', 'output'],
        rows: lines.map(() => ({})),
        lines,
        separator: null,
        remarks: [],
      },
      split: { train: [], validation: [], test: [] },
      texts: [],
      samples,
      notes: [],
      tokenizer: {
        encode: () => [],
        decode: () => '',
        bosId: 1,
        eosIds: [2],
        padId: null,
        vocabSize: vocab,
      },
    },
    techniques,
    shapes: made,
    program: compiled.program,
    trace: compiled.trace,
    arenaBytes: 0,
    totalBytes: 0,
    device: null,
    room: null,
    budget: null,
    wanted: made,
    considered: [],
  }
}

/** Runs `body` in a temporary folder that holds the base in `base`. */
export const withBase = async <T>(body: (folder: string) => Promise<T>): Promise<T> => {
  const folder = await fs.mkdtemp(path.join(os.tmpdir(), 'tunec-train-'))
  try {
    await writeBase(path.join(folder, 'base'))
    return await body(folder)
  } finally {
    await fs.rm(folder, { recursive: true, force: true })
  }
}

/** Options that record events; the clock stands still unless told otherwise. */
export const quiet = (
  folder: string,
  more: { readonly stop?: () => boolean; readonly resume?: string } = {},
) => {
  const events: Array<TrainEvent> = []
  return {
    events,
    options: {
      resultsFolder: path.join(folder, 'results'),
      experimentName: 'experiment',
      onEvent: (e: TrainEvent) => {
        events.push(e)
      },
      stop: () => false,
      clock: () => 0,
      ...more,
    },
  }
}

export const weightsOf = (adapterFolder: string): Promise<Buffer> =>
  fs.readFile(path.join(adapterFolder, 'adapter_model.safetensors'))

/** What was wrong, of a result that has to be a failure. */
export const left = <Err, T>(e: E.Either<Err, T>): Err => {
  if (E.isRight(e)) throw new Error('a failure was expected')
  return e.left
}
