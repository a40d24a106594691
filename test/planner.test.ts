/** Planning for a GPU, without one: what is counted, what is chosen, and what is said of it. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { secondsOfAll } from '../backends/cuda/calibration.ts'
import { lower, type Lowered } from '../backends/cuda/lower/lower.ts'
import { cards } from '../backends/cuda/lower/targets.ts'
import { rematerialize } from '../passes/index.ts'
import { parseConfig } from '../src/config/index.ts'
import { assumedDevice, type Device } from '../src/plan/device.ts'
import { terminal } from '../src/cli/terminal.ts'
import { planTrained } from '../src/cli/trained-session.ts'
import { readPlan, writePlan } from '../src/plan/file.ts'
import { fitOf } from '../src/plan/fit.ts'
import { footprintOf } from '../src/plan/footprint.ts'
import { ladderOf } from '../src/plan/ladder.ts'
import { machineOf } from '../src/plan/machine.ts'
import { planOf, type Plan } from '../src/plan/plan.ts'
import { renderLadder } from '../src/report/ladder.ts'
import { renderPlan } from '../src/report/plan.ts'
import { plain } from '../src/report/style.ts'
import { here, inFolder, smallJob } from './cli-child.ts'
import { fc, runs } from './fc.ts'
import { through } from './laws.ts'
import { right } from './right.ts'

const MiB = 2 ** 20

/** The plan of a job file for a device. */
const planned = async (file: string, device: Device | null | undefined) => {
  const { config } = right(parseConfig(await fs.readFile(file, 'utf8'), { file }))
  const folder = path.dirname(file)
  return planOf(config, {
    folder,
    clock: () => 0,
    ...(device === undefined ? {} : { device }),
  })
}

/** A job over the bundled architecture, with lines of `compiler` and of the trainer. */
const job = async (folder: string, compiler: string, trainer = ''): Promise<string> => {
  const file = await smallJob(folder, compiler)
  const text = await fs.readFile(file, 'utf8')
  await fs.writeFile(file, text.replace('learning_rate: 0.001', `learning_rate: 0.001${trainer}`))
  return file
}

const card = (freeBytes: number | null, arch = 90): Device => ({
  ...assumedDevice,
  ...cards.find((c) => c.target.arch === arch)!,
  freeBytes,
})

const context = 64 * MiB + assumedDevice.calibration.contextBytes

test('what is counted is the arena of the launches, context and libraries', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'backend: cuda')
    const plan = right(await planned(file, undefined))
    assert.deepEqual(plan.device, assumedDevice)
    assert.equal(plan.arenaBytes, lower(plan.program, assumedDevice.target).arenaBytes)
    assert.equal(plan.totalBytes, plan.arenaBytes + context)
    const onCpu = right(await planned(file, null))
    assert.equal(onCpu.totalBytes, onCpu.arenaBytes)
    assert.notEqual(onCpu.arenaBytes, plan.arenaBytes)
    assert.equal(fitOf(plan, plan.totalBytes).fits, true)
    assert.equal(fitOf(plan, plan.totalBytes - 1).fits, false)
    const ladder = right(ladderOf(plan))
    for (const { footprint: f } of ladder.rungs) {
      const parts = [f.weights, f.gradients, f.optimizer, f.cache, f.activations, f.workspace]
      assert.ok(f.padding >= 0, `${f.padding} bytes too many are counted`)
      assert.equal(
        parts.reduce((a, b) => a + b, f.padding + f.context),
        f.total,
      )
    }
    assert.equal(ladder.rungs.at(-1)!.footprint.total, plan.totalBytes)
    assert.match(renderLadder(ladder, plain).join('\n'), /workspace +context +total/)
    assert.equal(footprintOf(plan.program, machineOf(plan.device)).context, context)
  }))

test('a config that names a CPU backend is planned for none; auto follows what is here', () =>
  inFolder(async (folder) => {
    for (const [backend, expected] of [
      ['onnx', null],
      ['tfjs', null],
      ['reference', null],
      ['auto', null],
      ['cuda', assumedDevice],
    ] as const) {
      const file = await job(folder, `backend: ${backend}`)
      await fs.rm(path.join(folder, 'base'), { recursive: true })
      await fs.cp('examples/code-instructions/base', path.join(folder, 'base'), { recursive: true })
      assert.deepEqual(right(await planned(file, undefined)).device, expected)
      await fs.rm(path.join(folder, 'base'), { recursive: true })
    }
  }))

/** All rows of a step at once down to one, by hand: the time of each way that fits. */
const byHand = async (folder: string, device: Device, budget: number) => {
  const ways = []
  for (const rows of [1, 2, 3, 4, 6, 12]) {
    const made = await planned(
      await fixed(folder, `{memory_budget: ${budget}, micro_batch_rows: ${rows}}`),
      device,
    )
    const plan = right(made)
    if (plan.totalBytes > budget) continue
    const [own, decoding] = [plan.room!, { ...plan.room!, keep: 0 }].map((room) =>
      lower(plan.program, { ...device.target, ...room }),
    )
    const sum = (l: Lowered, name: string) =>
      secondsOfAll(l.fns.find((f) => f.name === name)!.launches, device.calibration)
    // Only a part of the decoding that is spared is time saved.
    const { kept } = device.calibration
    const of = (name: string) => kept * sum(own!, name) + (1 - kept) * sum(decoding!, name)
    ways.push({ rows, seconds: Math.ceil(12 / rows) * of('micro') + of('update') })
  }
  return ways
}

/** Twelve samples a step, each a row of its own: the architecture alone, without data. */
const fixed = async (folder: string, compiler: string): Promise<string> => {
  const file = path.join(folder, 'bare.yaml')
  const lines = [
    'model_type: llm',
    'base_model: base',
    'quantization: {bits: 4}',
    'adapter: {type: lora, dropout: 0}',
    'input_features: [{name: instruction, type: text}]',
    'output_features: [{name: output, type: text}]',
    'trainer: {type: finetune, batch_size: 1, effective_batch_size: 12}',
    'preprocessing: {global_max_sequence_length: 128}',
    `compiler: ${compiler}`,
  ]
  await fs.writeFile(file, lines.join('\n'))
  return file
}

test('the fastest way that fits is chosen: against every way by hand', () =>
  inFolder(async (folder) => {
    await smallJob(folder)
    const device = card(80e9)
    const most = right(await planned(await fixed(folder, '{micro_batch_rows: 12}'), device))
    const least = right(
      await planned(await fixed(folder, '{micro_batch_rows: 1, recompute: layers}'), device),
    )
    for (const share of [0, 0.3, 1]) {
      const budget = Math.ceil(
        least.totalBytes * 1.01 + share * (most.totalBytes - least.totalBytes),
      )
      const plan = right(await planned(await fixed(folder, `{memory_budget: ${budget}}`), device))
      assert.ok(plan.totalBytes <= budget, `${plan.totalBytes} of ${budget}`)
      const ways = await byHand(folder, device, budget)
      const best = Math.min(...ways.map((w) => w.seconds))
      const own = ways.find((w) => w.rows === plan.shapes.rows)!
      assert.ok(own.seconds <= 1.0101 * best, `${plan.shapes.rows} rows: ${own.seconds} of ${best}`)
      assert.ok(Math.abs(plan.considered[0]!.seconds / own.seconds - 1) < 1e-9)
      for (const c of plan.considered) assert.ok(c.total <= budget)
    }
    // Without any limit but the card's, nothing is recomputed; a small card has to.
    const free = right(await planned(await fixed(folder, '{backend: cuda}'), device))
    assert.equal(free.considered[0]!.recomputes, false)
    assert.equal(free.budget, null)
  }))

test('auto is what is free on the GPU, and a problem where there is none', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'memory_budget: auto')
    const plan = right(await planned(file, card(700e6)))
    assert.equal(plan.budget, 700e6)
    const none = await planned(file, null)
    assert.ok(E.isLeft(none))
    assert.equal(none.left[0].path, 'compiler.memory_budget')
    assert.match(none.left[0].message, /free on a GPU, and no GPU is planned for/)
  }))

test('a budget of random size: what is said to fit fits, and a budget that recomputing can meet is met', () =>
  inFolder(async (folder) => {
    await smallJob(folder)
    const device = card(null)
    const machine = machineOf(device)
    const bare = right(await planned(await fixed(folder, '{micro_batch_rows: 2}'), device))
    const before = bare.trace.find((s) => s.pass.startsWith('accumulate'))!.program
    const need = (bytes: number) => {
      const p = through(rematerialize({ _tag: 'budget', bytes }, machine.measure))(before)
      return machine.measure(
        p,
        p.fns.find((f) => f.name === 'micro')!,
      )
    }
    const [least, most] = [need(1), need(Infinity)]
    assert.ok(least < most)
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (t) => {
        const budget = Math.ceil(least + t * (most - least))
        assert.ok(need(budget) <= budget)
      }),
      runs(8),
    )
  }))

test('Turing computes in 16-bit floats that it can multiply', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'backend: cuda')
    const compute = async (arch: number) =>
      right(await planned(file, card(8e9, arch))).techniques.compute
    assert.deepEqual([await compute(75), await compute(86)], ['f16', 'bf16'])
  }))

test('what was chosen is said, with the next best; the plan file holds what it was planned for', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'backend: cuda', ', batch_size: 4')
    const plan: Plan = right(await planned(file, card(80e9)))
    const text = renderPlan(plan, plain).join('\n')
    assert.match(text, /^memory .* in one arena and 667\.1 MB for context and libraries; /m)
    assert.match(text, /^gpu +H100, sm_90, 132 multiprocessors, 80\.00 GB free; rates of an H100 /m)
    assert.match(text, /^chosen +\d+ rows? at once, .* a step predicted; (next best|no other)/m)
    const at = path.join(folder, 'plan.json')
    right(await writePlan(plan, at)())
    const read = right(readPlan(at))
    assert.deepEqual([read.device, read.shapes], [plan.device, plan.shapes])
    assert.equal(read.totalBytes, plan.totalBytes)
  }))

test('the command plans for cuda without a GPU, and says which it assumes', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'backend: cuda')
    const ran = await here('memory', file, '--budget', '16GB')
    assert.equal(ran.code, 0, ran.err)
    assert.match(ran.out, /workspace +context +total[^]*fits: /)
    assert.match((await here('check', file)).out, /^gpu +.+, sm_\d+/m)
  }))

test('float8 is planned for cards with 8-bit tensor cores and for a CPU; others are refused with what to write', async () =>
  inFolder(async (folder) => {
    const job = await smallJob(folder, 'compute_dtype: float8')
    const on = (arch: number): Device => ({
      ...assumedDevice,
      target: { ...assumedDevice.target, arch },
    })
    for (const device of [on(89), on(90), null])
      assert.equal(right(await planned(job, device)).techniques.compute, 'float8')
    for (const [arch, instead] of [
      [75, 'float16'],
      [86, 'bfloat16'],
    ] as const) {
      const made = await planned(job, on(arch))
      assert.ok(E.isLeft(made))
      assert.equal(made.left[0].path, 'compiler.compute_dtype')
      assert.match(made.left[0].message, /from compute capability 8\.9 \(Ada, Hopper\) on/)
      assert.match(made.left[0].hint!, new RegExp(`compute_dtype: ${instead}`))
    }
  }))

test('a trained model is asked in the type that its GPU trains in, and no ways to train are weighed', () =>
  inFolder(async (folder) => {
    const file = await job(folder, 'memory_budget: auto')
    const { config } = right(parseConfig(await fs.readFile(file, 'utf8'), { file }))
    const trained = {
      config,
      folder,
      adapter: null,
      heads: null,
      untuned: null,
      began: false,
      trainedOn: null,
    }
    const asked = (device: Device | null | undefined) =>
      right(planTrained(trained, { ...terminal(), note: () => {} }, device))
    assert.deepEqual(
      [card(8e9, 75), card(8e9, 90), null].map((d) => asked(d).techniques.compute),
      ['f16', 'bf16', 'bf16'],
    )
    assert.deepEqual([asked(card(8e9)).considered, asked(card(8e9)).budget], [[], null])
  }))
