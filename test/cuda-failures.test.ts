/** Bad days of a run on a GPU: too small a card, memory that others hold, a NaN, a lost device. Said clearly, and the checkpoint stays good. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import { backendError, type Backend, type Session } from '../backends/backend.ts'
import type { CudaSession } from '../backends/cuda/session.ts'
import { cardOf } from '../backends/cuda/lower/targets.ts'
import { parseConfig } from '../src/config/index.ts'
import { assumedDevice } from '../src/plan/device.ts'
import { leastBytes, tooSmall } from '../src/plan/least.ts'
import { planOf, type Plan } from '../src/plan/plan.ts'
import { findSaved } from '../src/train/checkpoint.ts'
import { train } from '../src/train/train.ts'
import { fake, fakeBackend, missing } from './cuda-fake.ts'
import { emulated } from './cuda/backend.ts'
import { noCompiler } from './cuda/emulate.ts'
import { trained } from './conformance.ts'
import { inFolder, smallJob } from './cli-child.ts'
import { right } from './right.ts'
import { left, planFor, quiet, weightsOf, withBase, yaml } from './train-job.ts'
import { only } from './train-watch.ts'

const turing = noCompiler === false ? emulated(cardOf('sm_75')!.target) : null
const resultsOf = (folder: string): string => path.join(folder, 'results', 'experiment_run')
/** A checkpoint after every second step. */
const marked = yaml('  steps_per_checkpoint: 4').replace('epochs: 3', 'epochs: 2')

test(
  'twenty sessions of a whole program leave nothing behind',
  { skip: missing ?? false },
  async () => {
    const p = trained('bf16', { _tag: 'layers' })
    for (let i = 0; i < 20; i++) {
      let opened: CudaSession | undefined
      const session = right(await fakeBackend((s) => (opened = s)).prepare(p)())
      assert.ok(fake().live() > 10)
      right(await session.close()())
      assert.deepEqual(Object.values(opened!.device.gpu.live()), [0, 0, 0, 0, 0, 0])
      assert.equal(fake().live() + fake().blasLive(), 0)
    }
  },
)

test(
  'a device lost in training: the error says what is good, and the checkpoint is',
  { skip: missing ?? false },
  async () =>
    withBase(async (folder) => {
      const { events, options } = quiet(folder)
      const onEvent: typeof options.onEvent = (e) => {
        events.push(e)
        if (e._tag === 'step' && e.step === 4) fake().fail('cuStreamSynchronize', 700)
      }
      const plan = planFor(folder, marked)
      const [first] = left(await train(plan, fakeBackend(), { ...options, onEvent })())
      assert.match(first.message, /^cuda: cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS: /)
      assert.match(
        first.hint!,
        /^checkpoints on disk are good: start again from the last checkpoint; /,
      )
      assert.equal(only(events, 'step').length, 4)
      const saved = right(await findSaved(resultsOf(folder))())!
      assert.equal(saved.progress.step, only(events, 'checkpoint').at(-1)!.step)
      // The context was given back; what lay in it went with the device.
      fake().reset(1, 13000, 2 ** 30)
    }),
)

test(
  'memory that another process holds: who has how much, and the smallest budget',
  { skip: missing ?? false },
  async () =>
    withBase(async (folder) => {
      const device = { ...assumedDevice, target: cardOf('sm_90a')!.target, freeBytes: null }
      const plan: Plan = { ...planFor(folder, yaml()), device, totalBytes: 7e8 }
      const before = fake().live()
      const [first] = left(await train(plan, fakeBackend(undefined, 66e6), quiet(folder).options)())
      assert.match(first.message, /^cuda: cuMemAlloc_v2: CUDA_ERROR_OUT_OF_MEMORY: the GPU has no /)
      assert.match(first.message, /are free, this session holds 0\.\d\d GB, other processes/)
      assert.match(first.hint!, /nvidia-smi lists the processes/)
      assert.match(
        first.hint!,
        /the smallest budget that this config fits is compiler\.memory_budget: 0\.\d+GB/,
      )
      assert.equal(fake().live(), before)
      assert.equal(await fs.stat(resultsOf(folder)).catch(() => null), null)
    }),
)

test('a GPU that is too small: refused with the smallest budget, which then fits', () =>
  inFolder(async (folder) => {
    const file = await smallJob(folder, 'backend: cuda\n  compute_dtype: float32')
    const planned = async (
      freeBytes: number | null,
      budget: number | null = null,
    ): Promise<Plan> => {
      const { config } = right(parseConfig(await fs.readFile(file, 'utf8'), { file }))
      const compiler = { ...config.compiler, memory_budget: budget }
      const device = { ...assumedDevice, freeBytes }
      return right(planOf({ ...config, compiler }, { folder, clock: () => 0, device }))
    }
    const roomy = await planned(null)
    assert.equal(tooSmall(roomy), null)
    const context = assumedDevice.calibration.contextBytes
    const least = leastBytes(roomy)!
    assert.ok(least < roomy.totalBytes, `${least} of ${roomy.totalBytes}`)
    const named = await planned(least - context, roomy.totalBytes)
    const issue = tooSmall(named)!
    assert.match(
      issue.message,
      /^the GPU is too small: the plan takes [\d.]+ MB beside the context, and H100 has /,
    )
    const said = /smallest budget that this config fits is compiler\.memory_budget: ([\d.]+)GB/
    const written = Number(said.exec(issue.hint!)![1]) * 1e9
    assert.ok(written >= least && written < least + 2e7)
    const fitting = await planned(least - context, least)
    assert.ok(fitting.totalBytes <= least)
    assert.equal(tooSmall(fitting), null)
    assert.match(tooSmall(await planned(1e6))!.hint!, /takes no less than/)
    assert.equal(tooSmall({ ...roomy, device: null }), null)
  }))

/** A device that is lost at the n-th run of a function, and answers nothing from then on. */
const losing = (backend: Backend, fn: string, at: number): Backend => ({
  ...backend,
  prepare: (p) =>
    pipe(
      backend.prepare(p),
      TE.map((s): Session => {
        let [runs, lost] = [0, false]
        const alive =
          <T>(f: TE.TaskEither<ReturnType<typeof backendError>, T>) =>
          async () =>
            lost ? E.left(backendError('cuda', 'CUDA_ERROR_ILLEGAL_ADDRESS')) : f()
        return {
          ...s,
          run: (name, inputs) => async () => {
            if (name === fn && ++runs === at) lost = true
            return alive(s.run(name, inputs))()
          },
          read: (name) => alive(s.read(name)),
          write: (name, given) => alive(s.write(name, given)),
        }
      }),
    ),
})

/** The adapter of a run that nothing befalls, after `body` and a resumption. */
const resumedLike = async (folder: string, body: (plan: Plan) => Promise<void>): Promise<void> => {
  const plan = planFor(folder, marked.replace('dropout: 0', 'dropout: 0.2'))
  const whole = right(await train(plan, turing!, quiet(folder).options)())
  const expected = await weightsOf(whole.adapterFolder!)
  await fs.rm(path.join(folder, 'results'), { recursive: true })
  await body(plan)
  assert.ok(right(await findSaved(resultsOf(folder))())!.progress.step > 0)
  const { options } = quiet(folder, { resume: resultsOf(folder) })
  const done = right(await train(plan, turing!, options)())
  assert.deepEqual(await weightsOf(done.adapterFolder!), expected)
}

test(
  'a device lost at any call of a step: resumed, the adapter is the same, byte for byte',
  { skip: noCompiler },
  async () =>
    withBase(async (folder) => {
      for (const [fn, at] of [
        ['micro', 4],
        ['update', 4],
        ['evaluate', 2],
      ] as const) {
        await resumedLike(folder, async (plan) => {
          const [first] = left(await train(plan, losing(turing!, fn, at), quiet(folder).options)())
          assert.equal(first.message, 'cuda: CUDA_ERROR_ILLEGAL_ADDRESS')
        })
        await fs.rm(path.join(folder, 'results'), { recursive: true })
      }
    }),
)

test(
  'a NaN in the weights on the device: the loss names it, nothing of it is saved, the checkpoint goes on',
  { skip: noCompiler },
  async () =>
    withBase(async (folder) => {
      await resumedLike(folder, async (plan) => {
        let session: Session | undefined
        const watched: Backend = {
          ...turing!,
          prepare: (p) => TE.map((s: Session) => (session = s))(turing!.prepare(p)),
        }
        const { events, options } = quiet(folder)
        const name = plan.program.state.find((s) => s.role === 'train')!.name
        const poison: typeof options.onEvent = (e) => {
          events.push(e)
          if (e._tag !== 'checkpoint' || e.step === 0) return
          const at = plan.program.state.find((s) => s.name === name)!.type.shape
          const nan = new Float32Array(at.reduce((a, b) => a * b, 1)).fill(NaN)
          void session!.write(name, new Uint8Array(nan.buffer))()
        }
        const [first] = left(await train(plan, watched, { ...options, onEvent: poison })())
        assert.match(first.message, /^the loss of optimizer step \d+ is NaN, in line \d+/)
        assert.match(first.hint!, /nothing of this step was saved/)
      })
    }),
)
