/**
 * Answers of Llama-2-7B's shape with random NF4 weights and adapters on the GPU:  npx tsx bench/generate-7b.ts [1 32 …] [--variants usual,turns] [--prompt 32] [--new 128] [--capacity 160] [--rank 8] [--targets qkv|all] [--profile]
 *
 * The positional arguments are batches. Of each batch and variant (`turns`: no kernel begins before the one ahead has ended): tokens a second as
 * generation runs (greedy, every step through the host), and with replays of the decode graph alone, beside the floor of its bytes; whether
 * repeated answers have the same ids; and whether ids, logits and caches are those of the first variant.
 */
import { createHash } from 'node:crypto'
import { parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { bindAll } from '../backends/cuda/bind.ts'
import { inOrder } from '../backends/cuda/driver/error.ts'
import { open, settings, targetOf } from '../backends/cuda/index.ts'
import type { Target } from '../backends/cuda/lower/context.ts'
import { lower } from '../backends/cuda/lower/lower.ts'
import { few } from '../backends/cuda/lower/rules/few.ts'
import { rules } from '../backends/cuda/lower/rules/index.ts'
import { token } from '../backends/cuda/lower/rules/token.ts'
import { wide } from '../backends/cuda/lower/rules/wide.ts'
import { floorOf, h100 } from '../backends/cuda/lower/text.ts'
import { profileGraphs } from '../backends/cuda/profile.ts'
import { openSession, type CudaSession } from '../backends/cuda/session.ts'
import type { Program } from '../ir/graph.ts'
import { answer, generationPlan, type Grid, type Options } from '../src/generate/index.ts'
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
    variants: { type: 'string', default: 'usual,turns' },
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
const [REPLAYS, ANSWERS] = [50, 3]

interface Variant extends Partial<Target> {
  /** Weights are decoded and multiplied by the library. */
  readonly library?: true
}
const known: Readonly<Record<string, Variant>> = {
  usual: {},
  turns: { early: false },
  library: { library: true },
}
const variants = o.variants.split(',')
const odd = variants.find((v) => known[v] === undefined)
if (odd !== undefined)
  throw new Error(`--variants: ${odd} is none of ${Object.keys(known).join(', ')}`)

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

const programOf = (grid: Grid): Program => {
  const techniques = {
    lora: { r: Number(o.rank), alpha: 2 * Number(o.rank), dropout: 0, targets },
    quantize: { block: 64, nested: 256 },
    compute: 'bf16',
    optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: null },
    recompute: { _tag: 'none' },
  } as const
  const base = { name: 'llama', folder: null, spec, packed: null, remarks: [] }
  return right(generationPlan(base, techniques, grid)).program
}

const timed = async (body: () => Promise<unknown>): Promise<number> => {
  const at = process.hrtime.bigint()
  await body()
  return Number(process.hrtime.bigint() - at) / 1e6
}

/** What a variant came to, for comparison with another. */
interface Outcome {
  readonly ids: ReadonlyArray<ReadonlyArray<number>>
  readonly logits: Float32Array
  /** Of every byte of the caches. */
  readonly caches: string
}

const cachesOf = async (s: CudaSession): Promise<string> => {
  const hash = createHash('sha1')
  for (const x of s.lowered.program.state)
    if (x.role === 'cache') hash.update(right(await s.read(x.name)()))
  return hash.digest('hex')
}

/** How two outcomes differ; null: not at all. */
const differing = (a: Outcome, b: Outcome): string | null => {
  const rows = a.ids.flatMap((row, r) => {
    const at = row.findIndex((id, i) => id !== b.ids[r]![i])
    return at < 0 ? [] : [at]
  })
  let [off, most] = [0, 0]
  a.logits.forEach((x, i) => {
    off = Math.max(off, Math.abs(x - b.logits[i]!))
    most = Math.max(most, Math.abs(x))
  })
  return rows.length === 0 && off === 0 && a.caches === b.caches
    ? null
    : `${rows.length} of ${a.ids.length} answers have other ids${rows.length === 0 ? '' : ` (the first from token ${Math.min(...rows)} on)`}, logits of one step up to ${off.toPrecision(3)} apart of ${most.toPrecision(3)}, caches ${a.caches === b.caches ? 'the same' : 'differ'}`
}

const table = (s: CudaSession, feeds: Parameters<CudaSession['feed']>[1]): void => {
  const { groups, wholeMs } = right(
    profileGraphs(s, 'decode', feeds, h100, (l) =>
      l._tag === 'kernel'
        ? `${l.rule}: ${l.kernel.name} ${l.grid.join('×')} of ${l.block}`
        : `${l.rule}: ${l._tag}`,
    ),
  )
  const sum = groups.reduce((n, g) => n + g.ms, 0)
  console.log(
    `  each kernel's launches as a graph of their own: ${sum.toFixed(3)} ms together, the whole graph ${wholeMs.toFixed(3)} ms`,
  )
  for (const g of groups) {
    const [us, floor] = [g.ms, g.floorMs].map((ms) => ((1e3 * ms) / g.launches).toFixed(2))
    console.log(
      `  ${g.group.padEnd(52)} ${String(g.launches).padStart(4)} × ${us!.padStart(7)} us = ${g.ms.toFixed(3).padStart(7)} ms  floor ${floor!.padStart(7)} us  ×${(g.ms / g.floorMs).toFixed(2)}`,
    )
  }
}

const measure = async (s: CudaSession, grid: Grid, variant: string): Promise<Outcome> => {
  const { batch } = grid
  const { gpu } = s.device
  await fill(s)
  const requests = Array.from({ length: batch }, (_, sequence) => ({
    prompt: Array.from(random(prompt, 11 + sequence), (x) => x % spec.vocab),
    sequence,
  }))

  // As generation runs: the first answer warms up.
  const answers: Array<ReadonlyArray<ReadonlyArray<number>>> = []
  const ms: number[] = []
  for (let i = 0; i < ANSWERS; i++)
    ms.push(
      await timed(async () => {
        answers.push(right(await answer(s, grid, requests, greedy)()).map((a) => a.ids))
      }),
    )
  const whole = median(ms.slice(1))
  const ids = answers[0]!
  const repeat = answers.every((a) => JSON.stringify(a) === JSON.stringify(ids))
  const caches = await cachesOf(s)

  // The decode graph alone, at a position in the middle of the answers.
  const fn = s.lowered.fns.find((f) => f.name === 'decode')!
  const feeds = {
    tokens: Int32Array.from(ids, (row) => row[0]!),
    positions: new Int32Array(batch).fill(prompt + Math.floor(fresh / 2)),
  }
  const logits = right(await s.run('decode', feeds)())['logits'] as Float32Array
  const puts = right(bindAll(s.device, fn.launches))
  const graph = right(gpu.capture(() => inOrder(puts)))
  const replays = Array.from({ length: REPLAYS }, () => () => gpu.replay(graph))
  right(gpu.times(replays))
  const step = median(right(gpu.times(replays)))
  const through: number[] = []
  for (let i = 0; i < REPLAYS; i++)
    through.push(await timed(async () => right(await s.run('decode', feeds, ['next'])())))
  const run = median(through)
  const floor = 1e3 * fn.launches.reduce((n, l) => n + floorOf(l, h100), 0)
  const rate = (each: number): string => ((batch * 1e3) / each).toFixed(0)
  const distinct = new Set(ids.flat()).size
  const spread = logits.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
  console.log(
    `batch ${batch}, ${variant}, prompt ${prompt}, ${fresh} new, capacity ${capacity}, ${o.targets} r=${o.rank} on ${gpu.info.name}: generation ${((batch * fresh * 1e3) / whole).toFixed(0)} tokens/s (${(whole / fresh).toFixed(3)} ms a step, prompts included), session.run ${run.toFixed(3)} ms (${rate(run)} tokens/s), graph ${step.toFixed(3)} ms (${rate(step)} tokens/s), floor ${floor.toFixed(3)} ms (${rate(floor)} tokens/s), ${fn.launches.length} launches, arena ${(s.lowered.arenaBytes / 2 ** 30).toFixed(2)} GiB; ${ANSWERS} answers ${repeat ? 'have the same ids' : 'DIFFER FROM EACH OTHER'}, ${distinct} distinct of ${batch * fresh}, logits up to ${spread.toPrecision(3)}`,
  )
  if (o.profile) table(s, feeds)
  return { ids, logits, caches }
}

for (const batch of (positionals.length === 0 ? ['1', '32'] : positionals).map(Number)) {
  const grid = { batch, prompt, capacity }
  const program = programOf(grid)
  let first: Outcome | null = null
  for (const variant of variants) {
    const { library, ...target } = known[variant]!
    const opened = pipe(
      open(settings()),
      E.chain((gpu) =>
        openSession(
          gpu,
          lower(
            program,
            { ...targetOf(gpu), ...target },
            library === true ? rules.filter((r) => ![few, wide, token].includes(r)) : rules,
          ),
        ),
      ),
    )
    if (E.isLeft(opened)) {
      const { call, name, message } = opened.left
      console.log(`batch ${batch}, ${variant}: ${call} ${name}: ${message}`)
      continue
    }
    const outcome = await measure(opened.right, grid, variant)
    right(await opened.right.close()())
    first ??= outcome
    if (first === outcome) continue
    const why = differing(first, outcome)
    console.log(
      `batch ${batch}, ${variant} against ${variants[0]}: ${why ?? 'IDENTICAL ids, logits and caches'}`,
    )
  }
}
