/**
 * Loads and quantizes a bf16 checkpoint of Llama-2-7B's shape on the GPU:  npx tsx bench/load-7b.ts [--layers 32] [--folder DIR] [--times 3] [--keep]
 * The checkpoint (13.5 GB of random weights in shards) is written first where it does not lie yet, so the file cache is warm.
 */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { prepareCuda } from '../backends/cuda/index.ts'
import { materialize } from '../backends/materialize.ts'
import { bytes, size } from '../ir/type.ts'
import { compile } from '../passes/pass.ts'
import { findBase } from '../src/models/base.ts'
import { knownModels } from '../src/models/known.ts'
import { model } from '../src/models/llama.ts'
import { readSpec } from '../src/models/spec.ts'
import { pipeline } from '../src/pipeline.ts'
import { indexName, shardName } from '../src/tensors/shards.ts'
import { initialize } from '../src/train/initialize.ts'
import { openBase, sourceOf } from '../src/train/state.ts'
import { right } from './right.ts'

const { values: o } = parseArgs({
  options: {
    layers: { type: 'string', default: '32' },
    folder: { type: 'string' },
    times: { type: 'string', default: '3' },
    keep: { type: 'boolean', default: false },
  },
})
const layers = Number(o.layers)
const folder = o.folder ?? path.join(os.tmpdir(), `tunec-load-7b-${layers}`)
const config = { ...knownModels['meta-llama/Llama-2-7b-hf']!, num_hidden_layers: layers }

/** 32 MiB of bf16 of deviation 0.02 or so, the same in every run. */
const noise = (): Buffer => {
  const words = new Uint16Array(2 ** 24)
  let x = 7
  for (let i = 0; i < words.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    // Exponents of 2^-13 to 2^-5, any sign and fraction.
    words[i] = ((x >>> 16) & 0x8000) | ((114 + ((x >>> 24) & 7)) << 7) | ((x >>> 8) & 0x7f)
  }
  return Buffer.from(words.buffer)
}

const SHARD = 5e9

const writeCheckpoint = (): void => {
  const forward = right(model('m', right(readSpec(config)), { rows: 1, length: 2, generate: null }))
  const shards: Array<Array<{ readonly name: string; readonly shape: ReadonlyArray<number> }>> = [
    [],
  ]
  let filled = 0
  for (const { name, type } of forward.state) {
    if (filled + 2 * size(type) > SHARD) {
      shards.push([])
      filled = 0
    }
    shards.at(-1)!.push({ name, shape: type.shape })
    filled += 2 * size(type)
  }
  fs.mkdirSync(folder, { recursive: true })
  const random = noise()
  const weightMap: Record<string, string> = {}
  for (const [i, shard] of shards.entries()) {
    const file = shardName(i, shards.length)
    let at = 0
    const entries = shard.map(({ name, shape }) => {
      weightMap[name] = file
      const begin = at
      at += 2 * shape.reduce((a, b) => a * b, 1)
      return [name, { dtype: 'BF16', shape, data_offsets: [begin, at] }] as const
    })
    const json = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
    const length = Buffer.alloc(8)
    length.writeBigUInt64LE(BigInt(json.length))
    const fd = fs.openSync(path.join(folder, file), 'w')
    fs.writeSync(fd, Buffer.concat([length, json]))
    for (let done = 0; done < at; done += random.length)
      fs.writeSync(fd, random, 0, Math.min(random.length, at - done))
    fs.closeSync(fd)
  }
  if (shards.length > 1)
    fs.writeFileSync(path.join(folder, indexName), JSON.stringify({ weight_map: weightMap }))
  // Last: a folder with it is complete.
  fs.writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config))
}

const seconds = (begun: number): number => (performance.now() - begun) / 1e3
const gb = (n: number): string => `${(n / 1e9).toFixed(2)} GB`

if (!fs.existsSync(path.join(folder, 'config.json'))) {
  const begun = performance.now()
  writeCheckpoint()
  console.log(`wrote ${folder} in ${seconds(begun).toFixed(1)} s`)
}
const files = fs.readdirSync(folder).filter((f) => f.endsWith('.safetensors'))
const total = files.reduce((n, f) => n + fs.statSync(path.join(folder, f)).size, 0)

/** One thread, into one buffer: also what makes the cache warm. */
const readAll = (): void => {
  const into = Buffer.allocUnsafeSlow(2 ** 25)
  for (const f of files) {
    const fd = fs.openSync(path.join(folder, f), 'r')
    for (let at = 0, n = 1; n > 0; at += n) n = fs.readSync(fd, into, 0, into.length, at)
    fs.closeSync(fd)
  }
}
for (const what of ['first', 'second']) {
  const begun = performance.now()
  readAll()
  console.log(`${what} reading by one thread: ${(total / 1e9 / seconds(begun)).toFixed(2)} GB/s`)
}

const base = right(findBase(folder, folder))
const forward = right(model('llama', base.spec, { rows: 1, length: 2048, generate: null }))
const program = right(
  compile(
    pipeline({
      lora: { r: 8, alpha: 16, dropout: 0, targets: ['q_proj', 'k_proj', 'v_proj'] },
      quantize: { block: 64, nested: 256 },
      compute: 'bf16',
      optimizer: { beta1: 0.9, beta2: 0.999, eps: 1e-8, decay: 0, decoupled: true, clip: 1 },
      recompute: { _tag: 'layers' },
    }),
  )(forward),
).program
const opened = performance.now()
const session = right(prepareCuda(program))
const { gpu } = session.device
console.log(
  `${gpu.info.name}, ${os.cpus()[0]?.model ?? 'unknown processor'} with ${os.availableParallelism()} threads; session ready in ${seconds(opened).toFixed(1)} s, arena ${gb(session.lowered.arenaBytes)}`,
)
const checkpoint = right(await openBase(base, program)())

for (let i = 0; i < Number(o.times); i++) {
  const before = { rss: process.memoryUsage.rss(), free: right(gpu.memory()).free }
  const peak = { rss: before.rss, used: 0 }
  const watch = setInterval(() => {
    peak.rss = Math.max(peak.rss, process.memoryUsage.rss())
    peak.used = Math.max(peak.used, before.free - right(gpu.memory()).free)
  }, 20)
  const begun = performance.now()
  const sum = right(await initialize(session, program, checkpoint, 42)())
  const took = seconds(begun)
  clearInterval(watch)
  console.log(
    `load ${i + 1}: ${gb(total)} in ${took.toFixed(2)} s = ${(total / 1e9 / took).toFixed(2)} GB/s; host memory ${gb(before.rss)} before, ${gb(peak.rss)} at most; device memory beyond the session's ${gb(peak.used)} at most; base ${sum.slice(0, 12)}`,
  )
}

/** Against the host's own making of some tensors. */
const source = sourceOf(checkpoint)
for (const name of [
  'model.layers.0.self_attn.q_proj.weight',
  `model.layers.${layers - 1}.mlp.down_proj.weight`,
  'model.norm.weight',
]) {
  const s = program.state.find((x) => x.name === name)!
  const [host, device] = [
    right(await materialize(s, source, 42)()),
    right(await session.read(name)()),
  ]
  const same = Buffer.compare(host, device) === 0
  console.log(
    `${name} (${gb(bytes(s.type))}): ${same ? 'byte for byte the host’s' : 'DIFFERS from the host’s'}`,
  )
  if (!same) process.exitCode = 1
}
right(await session.close()())
if (!o.keep && o.folder === undefined) fs.rmSync(folder, { recursive: true })
