/**
 * Answers of Llama-2-7B's shape with random NF4 weights and adapters on the GPU:  npx tsx bench/generate-7b.ts [1 32 …] [--prompt 32] [--new 128] [--capacity 160] [--rank 8] [--targets qkv|all] [--early] [--profile]
 *
 * The positional arguments are batches. Printed: tokens a second as generation runs (greedy, every step through the host), and with replays of the
 * decode graph alone, beside the floor of its bytes.
 */
import { parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { bindAll } from '../backends/cuda/bind.ts'
import { inOrder } from '../backends/cuda/driver/error.ts'
import { prepareCuda, settings } from '../backends/cuda/index.ts'
import { floorOf, h100 } from '../backends/cuda/lower/text.ts'
import { profileGraphs } from '../backends/cuda/profile.ts'
import { answer, generationPlan, type Options } from '../src/generate/index.ts'
import { knownModels } from '../src/models/known.ts'
import { readSpec } from '../src/models/spec.ts'
import { random } from '../src/profile/contents.ts'
import { fill, median } from './random-model.ts'
import { right } from './right.ts'

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    prompt: { type: 'string', default: '32' },
    new: { type: 'string', default: '128' },
    capacity: { type: 'string', default: '160' },
    rank: { type: 'string', default: '8' },
    targets: { type: 'string', default: 'qkv' },
    model: { type: 'string', default: 'meta-llama/Llama-2-7b-hf' },
    early: { type: 'boolean', default: false },
    profile: { type: 'boolean', default: false },
  },
})
const [prompt, fresh, capacity] = [o.prompt, o.new, o.capacity].map(Number) as [
  number,
  number,
  number,
]
const attention = ['q_proj', 'k_proj', 'v_proj']
const targets =
  o.targets === 'all' ? [...attention, 'o_proj', 'gate_proj', 'up_proj', 'down_proj'] : attention
const REPLAYS = 50

const spec = right(readSpec(knownModels[o.model]))
const greedy: Options = {
  sampling: { temperature: 0, topK: 0, topP: 1, seed: 1 },
  maxNew: fresh,
  minNew: fresh,
  bosId: null,
  eosIds: [],
  vocab: spec.vocab,
  decode: () => '',
}

for (const batch of (positionals.length === 0 ? ['1', '32'] : positionals).map(Number)) {
  const grid = { batch, prompt, capacity }
  const techniques = {
    lora: { r: Number(o.rank), alpha: 2 * Number(o.rank), dropout: 0, targets },
    quantize: { block: 64, nested: 256 },
    compute: 'bf16',
    optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: null },
    recompute: { _tag: 'none' },
  } as const
  const { program } = right(
    generationPlan(
      { name: 'llama', folder: null, spec, packed: null, remarks: [] },
      techniques,
      grid,
    ),
  )
  const opened = prepareCuda(program, null, { ...settings(), early: o.early })
  if (E.isLeft(opened)) {
    console.log(`batch ${batch}: ${opened.left.call} ${opened.left.name}: ${opened.left.message}`)
    continue
  }
  const s = opened.right
  const { gpu } = s.device
  await fill(s)
  const requests = Array.from({ length: batch }, (_, sequence) => ({
    prompt: Array.from(random(prompt, 11 + sequence), (x) => x % spec.vocab),
    sequence,
  }))

  // As generation runs: the first answer warms up.
  const ms: number[] = []
  for (let i = 0; i < 3; i++) {
    const at = process.hrtime.bigint()
    right(await answer(s, grid, requests, greedy)())
    ms.push(Number(process.hrtime.bigint() - at) / 1e6)
  }
  const whole = median(ms.slice(1))

  // The decode graph alone, at a position in the middle of the answers.
  const fn = s.lowered.fns.find((f) => f.name === 'decode')!
  const feeds = {
    tokens: new Int32Array(batch).fill(7),
    positions: new Int32Array(batch).fill(prompt + Math.floor(fresh / 2)),
  }
  right(await s.run('decode', feeds)())
  const puts = right(bindAll(s.device, fn.launches))
  const graph = right(gpu.capture(() => inOrder(puts)))
  const replays = Array.from({ length: REPLAYS }, () => () => gpu.replay(graph))
  right(gpu.times(replays))
  const step = median(right(gpu.times(replays)))
  const through: number[] = []
  for (let i = 0; i < REPLAYS; i++) {
    const at = process.hrtime.bigint()
    right(await s.run('decode', feeds, ['next'])())
    through.push(Number(process.hrtime.bigint() - at) / 1e6)
  }
  const run = median(through)
  const floor = 1e3 * fn.launches.reduce((n, l) => n + floorOf(l, h100), 0)
  const rate = (each: number): string => ((batch * 1e3) / each).toFixed(0)
  console.log(
    `batch ${batch}, prompt ${prompt}, ${fresh} new, capacity ${capacity}, ${o.targets} r=${o.rank} on ${gpu.info.name}: generation ${((batch * fresh * 1e3) / whole).toFixed(0)} tokens/s (${(whole / fresh).toFixed(3)} ms a step, prompts included), session.run ${run.toFixed(3)} ms (${rate(run)} tokens/s), graph ${step.toFixed(3)} ms (${rate(step)} tokens/s), floor ${floor.toFixed(3)} ms (${rate(floor)} tokens/s), ${fn.launches.length} launches, arena ${(s.lowered.arenaBytes / 2 ** 30).toFixed(2)} GiB`,
  )
  if (o.profile) {
    const made = right(
      profileGraphs(s, 'decode', feeds, h100, (l) =>
        l._tag === 'kernel'
          ? `${l.rule}: ${l.kernel.name} ${l.grid.join('×')}`
          : `${l.rule}: ${l._tag}`,
      ),
    )
    const table = made.groups
    const sum = table.reduce((n, g) => n + g.ms, 0)
    console.log(
      `  each kernel's launches as a graph of their own: ${sum.toFixed(3)} ms together, the whole graph ${made.wholeMs.toFixed(3)} ms`,
    )
    for (const g of table)
      console.log(
        `  ${g.group.padEnd(52)} ${String(g.launches).padStart(4)} ${g.ms.toFixed(3).padStart(8)} ms  floor ${g.floorMs.toFixed(3).padStart(8)}  ×${(g.ms / g.floorMs).toFixed(2)}`,
      )
  }
  right(await s.close()())
}
