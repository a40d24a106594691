/** Our side of bench/cpu.ts: times optimizer steps on the token ids of a job file; prints one JSON line. */
import fs from 'node:fs'
import { onnxWith } from '../backends/onnx/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { packBatch } from '../src/data/pack.ts'
import type { Sample } from '../src/data/samples.ts'
import { compileWith } from '../src/plan/program.ts'
import { planOf } from '../src/plan/plan.ts'
import { gridOf } from '../src/plan/shapes.ts'
import { initialize } from '../src/train/initialize.ts'
import { openBase } from '../src/train/state.ts'
import type { Job } from './cpu.ts'
import { right } from './right.ts'

const job = JSON.parse(fs.readFileSync(process.argv[2]!, 'utf8')) as Job
const config = right(parseConfig(job.yaml, { file: 'bench' })).config
const plan = right(planOf(config, { folder: job.folder, clock: () => performance.now() }))
const batches = job.batches.map((b) =>
  b.map(([prompt, target], row): Sample => ({ row, prompt, target })),
)
const shapes = { ...gridOf(config, plan.base.spec, batches), generate: null }
const compiled = right(compileWith(plan.base, plan.techniques, shapes, () => 0))
const session = right(await onnxWith({ threads: job.threads }).prepare(compiled.program)())
const base = right(await openBase(plan.base, compiled.program)())
right(await initialize(session, compiled.program, base, 42)())

const step = async (batch: ReadonlyArray<Sample>, t: number): Promise<number> => {
  const micros = right(packBatch(batch, shapes))
  const scored = micros.reduce((n, m) => n + m.scored, 0)
  let loss = 0
  for (const { tokens, positions, segments, targets } of micros) {
    const inverse_count = Float32Array.of(1 / scored)
    const out = right(
      await session.run('micro', { tokens, positions, segments, targets, inverse_count })(),
    )
    loss += out['loss']![0]!
  }
  right(await session.run('update', { lr: Float32Array.of(1e-4), step: Float32Array.of(t) })())
  return loss
}

for (let i = 0; i < job.warmup; i++) await step(batches[i % batches.length]!, i + 1)
const [ms, tokens, losses]: [number[], number[], number[]] = [[], [], []]
for (let i = 0; i < job.steps; i++) {
  const batch = batches[i % batches.length]!
  const begun = performance.now()
  losses.push(await step(batch, i + job.warmup + 1))
  ms.push(performance.now() - begun)
  tokens.push(batch.reduce((n, s) => n + s.prompt.length + s.target.length, 0))
}
const peakMiB = process.resourceUsage().maxRSS / 1024
console.log(
  JSON.stringify({ ms, tokens, losses, peakMiB, versions: `grid ${shapes.rows}x${shapes.length}` }),
)
right(await session.close()())
