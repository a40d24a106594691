/**
 * CPU training speed beside PyTorch + PEFT, in one run:  npx tsx bench/cpu.ts [--rounds 3] [--python python3]
 * Each round runs the peer and every variant of ours in turn, each in its own process; ratios are taken within a round.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { parseConfig } from '../src/config/index.ts'
import { planOf } from '../src/plan/plan.ts'
import { order } from '../src/data/order.ts'
import { right } from './right.ts'

/** What one process is to time; `batches` are token ids of prompt and target. */
export interface Job {
  readonly yaml: string
  readonly folder: string
  readonly model: string
  readonly threads: number
  readonly steps: number
  readonly warmup: number
  readonly nf4: boolean
  readonly batches: ReadonlyArray<
    ReadonlyArray<readonly [ReadonlyArray<number>, ReadonlyArray<number>]>
  >
}

interface Timed {
  readonly ms: ReadonlyArray<number>
  readonly tokens: ReadonlyArray<number>
  readonly losses: ReadonlyArray<number>
  readonly peakMiB: number
  readonly versions: string
}

const { values: args } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    python: { type: 'string', default: 'python3' },
  },
})
const root = path.join(import.meta.dirname, '..')
const folder = path.join(root, 'examples', 'code-instructions')
const temp = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-bench-'))

const yamlOf = (nf4: boolean): string => `
model_type: llm
base_model: base
${nf4 ? 'quantization: { bits: 4 }' : ''}
adapter: { type: lora, r: 8, alpha: 16, dropout: 0, target_modules: [q_proj, k_proj, v_proj] }
prompt: { template: "### Instruction:\\n{instruction}\\n\\n### Response:\\n" }
input_features: [{ name: instruction, type: text }]
output_features: [{ name: output, type: text }]
preprocessing: { split: { type: fixed, column: split } }
trainer: { type: finetune, batch_size: 16, optimizer: { type: adamw } }
compiler: { dataset: data.csv, compute_dtype: float32 }
`

/** The bundled rows as a run would batch them, 16 at a time. */
const realRows = (): Job['batches'] => {
  const { config } = right(parseConfig(yamlOf(false), { file: 'bench' }))
  const plan = right(planOf(config, { folder, clock: () => 0 }))
  const { train } = plan.data!.samples
  const ids = order(train.length, 42, 0, true)
  return [0, 1, 2, 3, 4, 5].map((b) =>
    ids.slice(b * 16, (b + 1) * 16).map((i) => [train[i]!.prompt, train[i]!.target] as const),
  )
}

/** Rows of one length, everything scored but the first token. */
const equalRows = (rows: number, length: number): Job['batches'] =>
  [0, 1].map((b) =>
    Array.from({ length: rows }, (_, r) => {
      const ids = Array.from({ length }, (__, i) => 3 + ((i * 131 + r * 977 + b * 7919) % 4000))
      return [ids.slice(0, 1), ids.slice(1)] as const
    }),
  )

const jobFile = (
  name: string,
  job: Omit<Job, 'folder' | 'model' | 'threads' | 'steps' | 'warmup' | 'yaml'>,
): string => {
  const file = path.join(temp, `${name}.json`)
  const whole: Job = {
    ...job,
    yaml: yamlOf(job.nf4),
    folder,
    model: path.join(folder, 'base'),
    threads: 2,
    steps: 12,
    warmup: 3,
  }
  fs.writeFileSync(file, JSON.stringify(whole))
  return file
}

const timed = (command: string, argv: ReadonlyArray<string>): Timed | null => {
  const done = spawnSync(command, argv, {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, OMP_NUM_THREADS: '2' },
  })
  const line = done.stdout?.trim().split('\n').at(-1) ?? ''
  return done.status === 0 && line.startsWith('{') ? (JSON.parse(line) as Timed) : null
}
const ours = (file: string) =>
  timed(process.execPath, ['--import', 'tsx', path.join(root, 'bench', 'ours.ts'), file])
const peer = (file: string) =>
  timed(args.python, [path.join(root, 'bench', 'peer', 'peft_cpu.py'), file])

const median = (xs: ReadonlyArray<number>): number =>
  xs.toSorted((a, b) => a - b)[xs.length >> 1] ?? NaN
/** Tokens of samples (padding not counted) per second, from the median step. */
const rate = (t: Timed): number =>
  (1000 * t.tokens.reduce((a, b) => a + b)) / t.tokens.length / median(t.ms)

const cases = [
  { name: 'real rows, 16 samples a step', batches: realRows() },
  { name: 'equal full rows, 16 × 96', batches: equalRows(16, 96) },
  { name: 'equal full rows, 8 × 256', batches: equalRows(8, 256) },
]

const report = (
  label: string,
  runs: ReadonlyArray<Timed | null>,
  peers: ReadonlyArray<Timed | null>,
): void => {
  const good = runs.flatMap((r, i) => (r === null ? [] : [{ r, p: peers[i] ?? null }]))
  if (good.length === 0) return console.log(`  ${label.padEnd(34)} not run here`)
  const ratios = good.flatMap(({ r, p }) => (p === null ? [] : [rate(r) / rate(p)]))
  const beside =
    ratios.length === 0
      ? ''
      : `  ${median(ratios).toFixed(2)} × peer (${ratios.map((x) => x.toFixed(2)).join(', ')})`
  console.log(
    `  ${label.padEnd(34)} ${median(good.map(({ r }) => rate(r)))
      .toFixed(0)
      .padStart(6)} tokens/s  peak ${Math.max(...good.map(({ r }) => r.peakMiB))
      .toFixed(0)
      .padStart(
        5,
      )} MiB  last loss ${good[0]!.r.losses.at(-1)!.toFixed(3)}  ${good[0]!.r.versions}${beside}`,
  )
}

const startUp = (label: string, argv: ReadonlyArray<string>): void => {
  const times = [1, 2, 3, 4, 5].map(() => {
    const begun = performance.now()
    execFileSync(
      process.execPath,
      ['--import', 'tsx', path.join(root, 'src', 'cli', 'main.ts'), ...argv],
      { cwd: root, stdio: 'ignore' },
    )
    return performance.now() - begun
  })
  console.log(
    `  ${label.padEnd(34)} ${median(times).toFixed(0).padStart(6)} ms (from source, through tsx)`,
  )
}

console.log(
  `${os.cpus()[0]?.model}, ${os.cpus().length} cores, node ${process.version}, ${args.rounds} rounds; repeat: npx tsx bench/cpu.ts --python PYTHON`,
)
for (const c of cases) {
  console.log(`\n${c.name}`)
  const f32 = jobFile('f32', { nf4: false, batches: c.batches })
  const nf4 = jobFile('nf4', { nf4: true, batches: c.batches })
  const rounds = Array.from({ length: Number(args.rounds) }, () => ({
    peer: peer(f32),
    f32: ours(f32),
    nf4: ours(nf4),
    peer4: peer(nf4),
  }))
  const peers = rounds.map((r) => r.peer)
  report('PyTorch + PEFT, f32', peers, [])
  report(
    'PyTorch + PEFT + bitsandbytes, NF4',
    rounds.map((r) => r.peer4),
    peers,
  )
  report(
    'tunec, f32 LoRA',
    rounds.map((r) => r.f32),
    peers,
  )
  report(
    'tunec, NF4 LoRA',
    rounds.map((r) => r.nf4),
    peers,
  )
}
console.log('\nstart-up and compile, whole process, median of 5')
startUp('tunec --help', ['--help'])
startUp('tunec check (bundled job)', ['check', 'examples/code-instructions/qlora.yaml'])
startUp('tunec compile (Llama-2-7B)', [
  'compile',
  'examples/llama-2-7b/llama2_7b_4bit.yaml',
  '-o',
  path.join(temp, 'plan.json'),
])
fs.rmSync(temp, { recursive: true, force: true })
