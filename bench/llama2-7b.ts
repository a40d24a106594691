/**
 * A QLoRA step of Llama-2-7B's shape with random NF4 weights on the GPU:  npx tsx bench/llama2-7b.ts [1x2048 4x2048 …] [--rank 8] [--targets qkv|all] [--recompute none|layers] [--compute bf16|f16|float8] [--back e4m3|e5m2] [--float8 whole|factors|sums] [--scratch BYTES] [--keep LAYERS] [--host cuda|tfjs|tensors] [--profile]
 */
import { parseArgs } from 'node:util'
import * as E from 'fp-ts/lib/Either.js'
import { settings } from '../backends/cuda/index.ts'
import { profile, groupTimes } from '../backends/cuda/profile.ts'
import { compile } from '../passes/pass.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { pipeline } from '../src/pipeline.ts'
import { h100 } from '../backends/cuda/lower/text.ts'
import { random } from '../src/profile/contents.ts'
import { fill, median } from './random-model.ts'
import { right } from './right.ts'
import { isHost, stepsOn } from './steps.ts'

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rank: { type: 'string', default: '8' },
    targets: { type: 'string', default: 'qkv' },
    recompute: { type: 'string', default: 'none' },
    compute: { type: 'string', default: 'bf16' },
    back: { type: 'string' },
    float8: { type: 'string' },
    model: { type: 'string', default: 'meta-llama/Llama-2-7b-hf' },
    steps: { type: 'string', default: '20' },
    scratch: { type: 'string', default: '268435456' },
    keep: { type: 'string', default: '0' },
    host: { type: 'string', default: 'cuda' },
    profile: { type: 'boolean', default: false },
  },
})

const targets =
  o.targets === 'all'
    ? ['q_proj', 'k_proj', 'v_proj', 'o_proj', 'gate_proj', 'up_proj', 'down_proj']
    : ['q_proj', 'k_proj', 'v_proj']

const compute = (['f32', 'bf16', 'f16', 'float8'] as const).find((x) => x === o.compute)
const back = (['e4m3', 'e5m2'] as const).find((x) => x === o.back)
const float8 = (['whole', 'factors', 'sums'] as const).find((x) => x === o.float8)
if (
  (o.float8 !== undefined && float8 === undefined) ||
  compute === undefined ||
  (o.back !== undefined && back === undefined)
)
  throw new Error(
    '--compute is f32, bf16, f16 or float8; --back is e4m3 or e5m2; --float8 is whole, factors or sums',
  )

if (!isHost(o.host))
  throw new Error(
    '--host is cuda, tfjs (TensorFlow owns device and memory) or tensors (its tensors go in and come out)',
  )

const programOf = (rows: number, length: number) => {
  const spec = right(readSpec(knownModels[o.model]))
  const forward = right(model('llama', spec, { rows, length, generate: null }))
  const r = Number(o.rank)
  return right(
    compile(
      pipeline({
        lora: { r, alpha: 2 * r, dropout: 0, targets },
        quantize: { block: 64, nested: 256 },
        compute,
        ...(back === undefined ? {} : { back }),
        optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: 1 },
        recompute: o.recompute === 'layers' ? { _tag: 'layers' } : { _tag: 'none' },
      }),
    )(forward),
  ).program
}

const batch = (rows: number, length: number) => {
  const n = rows * length
  const ids = Int32Array.from(random(n, 11), (x) => x % 32000)
  return {
    tokens: ids,
    positions: Int32Array.from({ length: n }, (_, i) => i % length),
    segments: new Int32Array(n).fill(1),
    targets: ids.map((_, i) => (i % length === length - 1 ? -100 : ids[i + 1]!)),
    inverse_count: Float32Array.of(1 / (n - rows)),
  }
}

for (const shape of positionals.length === 0 ? ['1x2048'] : positionals) {
  const [rows, length] = shape.split('x').map(Number) as [number, number]
  const begun = Date.now()
  const p = programOf(rows, length)
  const compiled = Date.now()
  const opened = stepsOn(
    o.host,
    p,
    { scratch: Number(o.scratch), keep: Number(o.keep) },
    { ...settings(), ...(float8 === undefined ? {} : { float8 }) },
  )
  if (E.isLeft(opened)) {
    console.log(`${shape}: ${opened.left.call} ${opened.left.name}: ${opened.left.message}`)
    continue
  }
  const { session: s, micro, update } = opened.right
  const ready = Date.now()
  await fill(s)
  const { gpu } = s.device
  const feeds = batch(rows, length)
  let loss = 0
  const ms: number[] = []
  for (let step = 1; step <= Number(o.steps); step++) {
    const t = process.hrtime.bigint()
    loss = await micro(feeds)
    await update(1e-4, step)
    ms.push(Number(process.hrtime.bigint() - t) / 1e6)
  }
  const t = median(ms.slice(3))
  const room = right(gpu.memory())
  const used = (room.total - room.free) / 2 ** 30
  console.log(
    `${shape} ${o.targets} r=${o.rank} ${o.compute}${back === undefined ? '' : `, cotangents in ${back}`} recompute ${o.recompute}${o.keep === '0' ? '' : `, ${o.keep} layers stay decoded`}${o.host === 'cuda' ? '' : `, host ${o.host}`} on ${gpu.info.name}: ${t.toFixed(2)} ms a step, ${(((rows * length) / t) * 1e3).toFixed(0)} tokens/s, arena ${(s.lowered.arenaBytes / 2 ** 30).toFixed(2)} GiB, device memory in use ${used.toFixed(2)} GiB, loss ${loss.toFixed(4)}; compile ${compiled - begun} ms, prepare ${ready - compiled} ms`,
  )
  if (o.profile) {
    const made = right(profile(s, 'micro', feeds, h100))
    const table = (list: ReturnType<typeof groupTimes>) => {
      const total = list.reduce((n, g) => n + g.ms, 0)
      for (const g of list)
        console.log(
          `  ${g.group.padEnd(44)} ${String(g.launches).padStart(5)} ${g.ms.toFixed(3).padStart(9)} ms ${((100 * g.ms) / total).toFixed(1).padStart(5)} %  floor ${g.floorMs.toFixed(3).padStart(8)}  ×${(g.ms / g.floorMs).toFixed(2)}`,
        )
      console.log(`  sum ${total.toFixed(2)} ms`)
    }
    table(made.groups)
    table(
      groupTimes(made.launches, h100, (l) =>
        l._tag === 'kernel'
          ? `${l.rule}: ${l.kernel.name}`
          : l._tag === 'product'
            ? `${l.rule}: ${l.d.rows}x${l.d.columns}x${l.ta ? l.a.rows : l.a.columns}${l.d.dtype === 'f32' ? ' f32' : ''}`
            : `${l.rule}: ${l._tag}`,
      ).slice(0, 45),
    )
  }
  right(await s.close()())
}
