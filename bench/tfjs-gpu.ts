/**
 * The plan inside TensorFlow beside the cuda backend, in one run on a GPU:  npx tsx bench/tfjs-gpu.ts [1x2048 …] [--rounds 3] [--steps 20]
 * TensorFlow's devices first, then Llama-2-7B's shape in NF4 by each host in turn, every time in a process of its own; ratios within a round.
 */
import { spawnSync } from 'node:child_process'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { load } from '../backends/tfjs/load.ts'
import { devicesOf } from '../test/tfjs-devices.ts'
import { median } from './random-model.ts'
import { right } from './right.ts'

const { values: o, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: 'string', default: '3' },
    steps: { type: 'string', default: '20' },
    devices: { type: 'boolean', default: false },
  },
})
const SPEED = 0.95
const MEMORY = 1.03

const listed = (): void => {
  const { backend, plugin } = right(load())
  console.log(`TensorFlow ${backend.binding.TF_Version}`)
  for (const d of devicesOf()) console.log(`  ${d.name} ${d.type}`)
  console.log(
    `isUsingGpuDevice() ${backend.isUsingGpuDevice}, tunec's plugin ${plugin === null ? 'is not there' : 'is there'}`,
  )
}

const run = (...args: ReadonlyArray<string>): string => {
  const r = spawnSync(process.execPath, ['--import', 'tsx', ...args], {
    cwd: path.dirname(import.meta.dirname),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  if (r.status !== 0) throw new Error(`${args.join(' ')}: exit ${r.status ?? r.signal}`)
  process.stdout.write(r.stdout)
  return r.stdout
}

interface Figures {
  readonly tokens: number
  readonly gib: number
  readonly loss: string
}

const LINE = /([\d.]+) ms a step, .* device memory in use ([\d.]+) GiB, loss ([\d.]+)/

const figures = (shape: string, host: string): Figures => {
  const text = run('bench/llama2-7b.ts', shape, '--host', host, '--steps', o.steps)
  const m = LINE.exec(text)
  if (m === null) throw new Error(`no figures from ${host}: ${text}`)
  const [rows, length] = shape.split('x').map(Number) as [number, number]
  return { tokens: ((rows * length) / Number(m[1])) * 1e3, gib: Number(m[2]), loss: m[3]! }
}

const compared = (shape: string): boolean => {
  const [speed, memory]: [Record<string, number[]>, Record<string, number[]>] = [{}, {}]
  let same = true
  for (let round = 0; round < Number(o.rounds); round++) {
    const base = figures(shape, 'cuda')
    for (const host of ['tfjs', 'tensors']) {
      const mine = figures(shape, host)
      ;(speed[host] ??= []).push(mine.tokens / base.tokens)
      ;(memory[host] ??= []).push(mine.gib / base.gib)
      same &&= mine.loss === base.loss
    }
  }
  console.log(same ? 'losses are the same digits' : 'LOSSES DIFFER')
  return Object.keys(speed).reduce((all, host) => {
    const [s, m] = [median(speed[host]!), median(memory[host]!)]
    const met = s >= SPEED && m <= MEMORY
    console.log(
      `${shape} ${host} beside cuda: ${(100 * s).toFixed(1)} % of the tokens/s, ${(100 * m).toFixed(1)} % of the memory (rounds ${speed[host]!.map((x) => (100 * x).toFixed(1)).join(', ')})${met ? '' : `; asked for ${100 * SPEED} and ${100 * MEMORY}`}`,
    )
    return all && met
  }, same)
}

if (o.devices) listed()
else {
  run('bench/tfjs-gpu.ts', '--devices')
  const met = (positionals.length === 0 ? ['1x2048'] : positionals).map(compared)
  process.exitCode = met.every(Boolean) ? 0 : 1
}
