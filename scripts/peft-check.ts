/**
 * Trains small jobs, and compares each output (adapter, merged model, full model) with what transformers and PEFT make
 * of it: logits after a prompt, and where an answer stops.
 *
 *   npx tsx scripts/peft-check.ts [--python python3] [--prompts 6] [--only dora,ia3]
 */
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { isDeepStrictEqual, parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import type { Session } from '../backends/backend.ts'
import { onnx } from '../backends/onnx/index.ts'
import { readAdapterConfig, type Adapter } from '../src/adapter/config.ts'
import { importAdapter } from '../src/adapter/import.ts'
import { parseConfig, type Config } from '../src/config/index.ts'
import {
  answer,
  type Answer,
  generationPlan,
  gridFor,
  optionsOf,
  requestsOf,
} from '../src/generate/index.ts'
import { EMBEDDING, HEAD } from '../src/models/head.ts'
import { planOf } from '../src/plan/plan.ts'
import { openFolder } from '../src/tensors/reader.ts'
import { writeFolder } from '../src/tensors/writer.ts'
import { loadTokenizer } from '../src/tokenizer/tokenizer.ts'
import { initializePlan } from '../src/train/initialize.ts'
import { train } from '../src/train/train.ts'
import { tensorsOf } from '../test/stored.ts'

const { values: args } = parseArgs({
  options: {
    python: { type: 'string', default: 'python3' },
    prompts: { type: 'string', default: '6' },
    /** Names of jobs, separated by commas; all of them unless said. */
    only: { type: 'string', default: '' },
  },
})
const LONGEST = 24
const here = import.meta.dirname
const example = path.join(here, '..', 'examples', 'code-instructions')

const probe = spawnSync(args.python, ['-c', 'import peft, torch, transformers'], {
  encoding: 'utf8',
})
if (probe.status !== 0) {
  console.log(
    `nothing was compared: ${args.python} has no transformers, peft and torch (name another with --python)`,
  )
  process.exit(0)
}

const right = <A>(e: E.Either<unknown, A>): A => {
  if (E.isRight(e)) return e.right
  throw new Error(JSON.stringify(e.left, null, 1))
}

type Json = Readonly<Record<string, unknown>>

interface Job {
  readonly name: string
  /** Over the base's config.json and generation_config.json. */
  readonly config?: Json
  readonly generation?: Json
  readonly ownHead?: boolean
  readonly rest?: string
  /** Settings of the adapter; such a job trains nothing but it. */
  readonly adapter?: string
}

const jobs: ReadonlyArray<Job> = [
  { name: 'plain' },
  { name: 'ends', config: { eos_token_id: 0 }, generation: { eos_token_id: 0 } },
  {
    name: 'positions',
    rest: 'model_parameters: { rope_scaling: { rope_type: linear, factor: 4 } }',
  },
  { name: 'own head', ownHead: true },
  {
    name: 'two ropes',
    config: {
      rope_scaling: { type: 'linear', factor: 2 },
      rope_parameters: { rope_type: 'linear', factor: 4, rope_theta: 10000 },
    },
  },
  {
    name: 'all of them',
    ownHead: true,
    config: { eos_token_id: 0, rope_theta: 5000, rope_scaling: { type: 'linear', factor: 2 } },
    generation: { eos_token_id: [0] },
    rest: 'model_parameters: { rope_scaling: { rope_type: linear, factor: 3 } }',
  },
  { name: 'rslora', adapter: 'use_rslora: true, init_lora_weights: gaussian' },
  { name: 'orthogonal', adapter: 'init_lora_weights: orthogonal' },
  {
    name: 'patterns',
    adapter:
      "target_modules: '.*_proj', rank_pattern: { q_proj: 3 }, alpha_pattern: { 'layers.0.*v_proj': 5 }",
  },
  { name: 'layers', adapter: 'layers_to_transform: [0, 2]' },
  { name: 'dora', adapter: 'use_dora: true, use_rslora: true' },
  { name: 'pissa', adapter: 'init_lora_weights: pissa, rank_pattern: { o_proj: 2 }' },
  { name: 'olora', adapter: 'init_lora_weights: olora, use_rslora: true, alpha: 2' },
  { name: 'saved', adapter: 'modules_to_save: [embed_tokens, norm]' },
  { name: 'saved head', ownHead: true, adapter: 'modules_to_save: [lm_head]' },
  { name: 'ia3', adapter: 'type: ia3' },
  { name: 'both ends', adapter: 'modules_to_save: [lm_head, embed_tokens], loraplus_lr_ratio: 2' },
]

const temp = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-peft-'))
const base = path.join(example, 'base')

/** Few rows, learnt by heart: their answers end. */
const data = path.join(temp, 'data.csv')
const rows = fs.readFileSync(path.join(example, 'data.csv'), 'utf8').split('\n')
fs.writeFileSync(data, `${rows.slice(0, 1 + 8).join('\n')}\n`)

const patched = (folder: string, name: string, changes: Json | undefined): void => {
  const was = JSON.parse(fs.readFileSync(path.join(base, name), 'utf8')) as Json
  fs.writeFileSync(path.join(folder, name), JSON.stringify({ ...was, ...changes }))
}

const writeBase = async (job: Job, folder: string): Promise<void> => {
  fs.cpSync(base, folder, { recursive: true })
  patched(folder, 'config.json', job.config)
  patched(folder, 'generation_config.json', job.generation)
  if (job.ownHead !== true) return
  const files = right(await openFolder(base)())
  const tensors = [...files.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    dtype,
    shape,
    data: () => files.read(name),
  }))
  const table = tensors.find((t) => t.name === EMBEDDING)!
  // The embedding with a few rows moved: another head, but one of a model that works.
  const moved = right(await files.read(EMBEDDING)())
  const row = moved.length / table.shape[0]!
  for (let at = 0; at < moved.length; at += 7 * row) moved.copyWithin(at, at + row, at + 1.5 * row)
  fs.rmSync(path.join(folder, 'model.safetensors'))
  const head = { ...table, name: HEAD, data: moved }
  right(await writeFolder(folder, [...tensors, head], { maxShardBytes: 1e9 })())
}

const yaml = (job: Job, full: boolean): string => `
model_type: llm
base_model: base
prompt: { template: "### Instruction:\\n{instruction}\\n\\n### Response:\\n" }
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
preprocessing: { split: { type: random, probabilities: [1, 0, 0] } }
${
  full
    ? ''
    : `adapter: { ${job.adapter?.includes('ia3') === true ? '' : `type: lora, r: 8, dropout: 0, ${job.adapter?.includes('target_modules') === true ? '' : 'target_modules: all-linear, '}`}${job.adapter === undefined ? '' : `${job.adapter}, `}postprocessor: { merge_adapter_into_base_model: true } }`
}
trainer:
  type: finetune
  epochs: 8
  batch_size: 4
  effective_batch_size: 4
  skip_all_evaluation: true
  learning_rate: ${full ? 0.0005 : 0.004}
generation: { do_sample: false, max_new_tokens: ${LONGEST} }
compiler: { dataset: ${JSON.stringify(data)}, compute_dtype: float32 }
${job.rest ?? ''}
`

const quiet = { onEvent: () => {}, stop: () => false, clock: () => 0 }

/** Answers one at a time, and keeps the logits of the first token. */
const asked = async (config: Config, adapter: string | null, texts: ReadonlyArray<string>) => {
  const still = { ...config, compiler: { ...config.compiler, dataset: null } }
  const plan = right(planOf(still, { folder: temp, clock: () => 0 }))
  const { spec, folder } = plan.base
  const tokenizer = right(loadTokenizer(folder!))
  const requests = requestsOf(tokenizer, texts)
  const lengths = requests.map((r) => r.prompt.length)
  const grid = { ...gridFor(plan.config, spec, lengths), batch: 1 }
  const { program } = right(generationPlan(plan.base, plan.techniques, grid))
  const session = right(await onnx.prepare(program)())
  right(await initializePlan({ ...plan, program }, session)())
  if (adapter !== null)
    right(await importAdapter(session, program, plan.techniques.lora!, adapter)())
  const options = optionsOf(plan.config, spec, tokenizer)
  const answers = []
  for (const [i, request] of requests.entries()) {
    let logits: ReadonlyArray<number> = []
    const watched: Session = {
      ...session,
      run: (name, feeds) => async () => {
        const ran = await session.run(name, feeds)()
        if (name === 'prefill') logits = [...(right(ran)['logits'] as Float32Array)]
        return ran
      },
    }
    const [{ ids, stopped }] = right(
      await answer(watched, grid, [request], options)(),
    ) as unknown as readonly [Answer]
    answers.push({ text: texts[i]!, prompt: request.prompt, logits, ids, stopped })
  }
  right(await session.close()())
  return answers
}

const outputsOf = async (job: Job, full: boolean) => {
  const folder = path.join(temp, `${job.name} ${full ? 'full' : 'lora'}`)
  await writeBase(job, path.join(folder, 'base'))
  const { config } = right(parseConfig(yaml(job, full), { file: 'job.yaml' }))
  const plan = right(planOf(config, { folder, clock: () => 0 }))
  const where = { resultsFolder: path.join(folder, 'results'), experimentName: 'check' }
  const done = right(await train(plan, onnx, { ...quiet, ...where })())
  const samples = plan.data!.samples.train.slice(0, Number(args.prompts))
  const texts = samples.map((s) => plan.data!.tokenizer.decode(s.prompt, { skipSpecial: true }))
  /** As anyone would name a written model: without the adapter, and with its own positions. */
  const alone = (base_model: string): Config => ({
    ...config,
    base_model,
    adapter: null,
    model_parameters: { ...config.model_parameters, rope_scaling: null },
  })
  const one = async (kind: string, at: string, c: Config, adapter: string | null) => ({
    job: job.name,
    kind,
    folder: at,
    answers: await asked(c, adapter, texts),
  })
  const weights = done.adapterFolder!
  if (full) return [await one('full', weights, alone(weights), null)]
  // The adapter says itself what it is.
  const adapter = { ...config.adapter!, pretrained_adapter_weights: weights }
  const named = { ...config, adapter, base_model: path.join(folder, 'base') }
  return [
    await one('adapter', weights, named, weights),
    await one('merged', done.mergedFolder!, alone(done.mergedFolder!), null),
  ]
}

/** PEFT keeps the names of modules as sets. */
const sorted = (settings: E.Either<unknown, Adapter>) =>
  JSON.stringify(settings, (_, v: unknown) => (Array.isArray(v) ? v.toSorted() : v))

const outputs: Array<Awaited<ReturnType<typeof outputsOf>>[number]> = []
for (const job of jobs.filter((j) => args.only === '' || args.only.split(',').includes(j.name)))
  for (const full of job.adapter === undefined ? [false, true] : [false]) {
    outputs.push(...(await outputsOf(job, full)))
    console.error(`trained: ${job.name}, ${full ? 'all weights' : 'adapter'}`)
  }
const file = path.join(temp, 'outputs.json')
fs.writeFileSync(file, JSON.stringify({ longest: LONGEST, outputs }))
const checked = spawnSync(args.python, [path.join(here, 'peft_check.py'), file], {
  stdio: 'inherit',
})
/** What PEFT has read it writes again: the same tensors, and settings that mean the same. */
let others = 0
for (const { job, folder } of outputs.filter((o) => o.kind === 'adapter')) {
  const [ours, theirs] = [folder, path.join(folder, 'again')].map((at) => ({
    settings: readAdapterConfig(at),
    tensors: tensorsOf(path.join(at, 'adapter_model.safetensors')),
  }))
  const same = isDeepStrictEqual(ours!.tensors, theirs!.tensors)
  if (same && isDeepStrictEqual(sorted(ours!.settings), sorted(theirs!.settings))) continue
  others++
  console.log(`${job}: PEFT writes another adapter than it read`, ours!.settings, theirs!.settings)
}
console.log(others === 0 ? 'PEFT writes every adapter again as it was' : `${others} differ`)
fs.rmSync(temp, { recursive: true })
process.exitCode = others === 0 ? (checked.status ?? 1) : 1
