/** A run that is killed and resumed ends with the same bytes as one that never stopped. */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { reference } from '../backends/reference/index.ts'
import type { Backend } from '../backends/backend.ts'
import { random } from '../src/data/random.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { train } from '../src/train/train.ts'
import { resumed } from './resume-job.ts'
import { right } from './right.ts'
import { hidden } from './saves.ts'
import { tensorsOf } from './stored.ts'
import { gated, osError } from './safetensors-faults.ts'
import {
  left,
  planFor,
  quiet,
  samplesOf,
  someRows,
  weightsOf,
  withBase,
  writeBase,
  baseTensors,
  yaml,
} from './train-job.ts'

/** Thrown by a listener: the process is as good as dead, and what it held in memory is lost. */
const killed = new Error('killed')

/** Kills the run once it has told `n` events. */
const dieAfter = (n: number) => {
  let told = 0
  return (): void => {
    told += 1
    if (told > n) throw killed
  }
}

const results = (folder: string): string => path.join(folder, 'results', 'experiment_run')
const whole = async (folder: string, text = resumed): Promise<Buffer> => {
  const done = right(await train(planFor(folder, text), reference, quiet(folder).options)())
  const bytes = await weightsOf(done.adapterFolder!)
  await fs.rm(path.join(folder, 'results'), { recursive: true })
  return bytes
}

const start = (folder: string, onEvent: (e: TrainEvent) => void, resume?: string) => {
  const { options } = quiet(folder, resume === undefined ? {} : { resume })
  return train(planFor(folder, resumed), reference, { ...options, onEvent })()
}

test('killed at ten random moments, each time resumed: the adapter is the same, byte for byte', async () => {
  await withBase(async (folder) => {
    const expected = await whole(folder)
    const draw = random(20, 11)
    let [kills, lives] = [0, 0]
    for (let seed = 0; kills < 10; seed++) {
      await fs.rm(path.join(folder, 'results'), { recursive: true, force: true })
      let resume: string | undefined
      for (;;) {
        lives += 1
        const ended = await start(folder, dieAfter(1 + draw.below(12)), resume).catch(
          (e: unknown) => {
            assert.equal(e, killed)
            return null
          },
        )
        if (ended !== null) {
          assert.deepEqual(await weightsOf(right(ended).adapterFolder!), expected)
          break
        }
        kills += 1
        resume = results(folder)
      }
    }
    assert.ok(kills >= 10 && lives > kills)
  })
})

/** Runs the job in a child, killed with SIGKILL once it has said `n` lines; whether it came to its end. */
const child = (folder: string, n: number, resume?: string): Promise<boolean> =>
  new Promise((resolve, reject) => {
    const file = path.join(import.meta.dirname, 'train-child.ts')
    const args = ['--import', 'tsx', file, folder, ...(resume === undefined ? [] : [resume])]
    const p = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    let lines = 0
    p.stdout.on('data', (text: Buffer) => {
      lines += text.toString().split('\n').length - 1
      if (lines >= n) p.kill('SIGKILL')
    })
    p.on('error', reject)
    p.on('close', (code, signal) =>
      code === 0 || signal === 'SIGKILL' ? resolve(code === 0) : reject(new Error(`exit ${code}`)),
    )
  })

test('a process killed by SIGKILL resumes to the same bytes', async () => {
  await withBase(async (folder) => {
    const expected = await whole(folder)
    assert.equal(await child(folder, 9), false)
    assert.equal(await child(folder, Infinity, results(folder)), true)
    assert.deepEqual(
      await weightsOf(path.join(results(folder), 'model', 'model_weights')),
      expected,
    )
  })
})

test('a stop request finishes the step, saves, and the run goes on from there', async () => {
  await withBase(async (folder) => {
    const expected = await whole(folder)
    for (const after of [1, 3, 4]) {
      await fs.rm(path.join(folder, 'results'), { recursive: true, force: true })
      const { events, options } = quiet(folder)
      const steps = (): number => events.filter((e) => e._tag === 'step').length
      const stop = (): boolean => steps() >= after
      const stopped = right(
        await train(planFor(folder, resumed), reference, { ...options, stop })(),
      )
      assert.equal(stopped.stopped, true)
      assert.equal(stopped.steps, after)
      assert.deepEqual(
        events.slice(-3).map((e) => e._tag),
        ['checkpoint', 'stopped', 'done'],
      )
      assert.equal(
        tensorsOf(path.join(stopped.adapterFolder!, 'adapter_model.safetensors')).size,
        8,
      )
      const { events: later, options: again } = quiet(folder, { resume: stopped.resultsFolder })
      const done = right(await train(planFor(folder, resumed), reference, again)())
      const begun = later[0]!
      assert.ok(begun._tag === 'start' && begun.from === after)
      assert.deepEqual(await weightsOf(done.adapterFolder!), expected)
    }
  })
})

test('a run stopped before it learned anything has no adapter yet', async () => {
  await withBase(async (folder) => {
    const text = resumed.replace('gradient_accumulation_steps: 2', 'gradient_accumulation_steps: 1')
    const { options } = quiet(folder, { stop: () => true })
    const stopped = right(await train(planFor(folder, text), reference, options)())
    assert.deepEqual([stopped.steps, stopped.adapterFolder], [1, null])
  })
})

test('a finished run resumes to itself', async () => {
  await withBase(async (folder) => {
    const first = right(await train(planFor(folder, resumed), reference, quiet(folder).options)())
    const { events, options } = quiet(folder, { resume: first.resultsFolder })
    const again = right(await train(planFor(folder, resumed), reference, options)())
    assert.equal(events.filter((e) => e._tag === 'step').length, 0)
    const timeless = (r: object) => JSON.stringify({ ...r, seconds: 0 })
    assert.equal(timeless(again), timeless(first))
  })
})

test('a death before the tracker was written: resuming tells the progress, and sweeps what was half written', async () => {
  await withBase(async (folder) => {
    const first = right(await train(planFor(folder, resumed), reference, quiet(folder).options)())
    const tracker = path.join(first.resultsFolder, 'model', 'training_progress.json')
    const told = await fs.readFile(tracker, 'utf8')
    await fs.writeFile(tracker, '{"steps": 2}')
    await fs.writeFile(
      path.join(path.dirname(tracker), '.training_progress.json.0123456789ab.tmp'),
      '{',
    )
    const { options } = quiet(folder, { resume: first.resultsFolder })
    right(await train(planFor(folder, resumed), reference, options)())
    assert.equal(await fs.readFile(tracker, 'utf8'), told)
    assert.deepEqual(await hidden(first.resultsFolder), [])
  })
})

test('another job is refused, and told what differs', async () => {
  await withBase(async (folder) => {
    right(await train(planFor(folder, resumed), reference, quiet(folder).options)())
    const { options } = quiet(folder, { resume: results(folder) })
    const refusal = async (
      plan: ReturnType<typeof planFor>,
      expected: RegExp,
      backend: Backend = reference,
    ): Promise<void> => {
      const [first] = left(await train(plan, backend, options)())
      assert.match(first.message, /^this checkpoint belongs to another job: /)
      assert.match(first.message, expected)
    }
    await refusal(
      planFor(folder, resumed.replace('learning_rate: 0.02', 'learning_rate: 0.01')),
      /trainer.learning_rate was 0.02 and is 0.01$/,
      { ...reference, prepare: () => assert.fail('it is told before anything is prepared') },
    )
    await refusal(
      planFor(folder, resumed, { ...someRows, train: samplesOf(9) }),
      /the samples are others/,
    )
    await refusal(planFor(folder, resumed), /backend was reference and is other/, {
      ...reference,
      name: 'other',
    })
    await refusal(planFor(folder, resumed, someRows, [1, 12]), /the compiled program is another/)
    await fs.rm(path.join(folder, 'base'), { recursive: true })
    const [first, ...rest] = baseTensors()
    await writeBase(path.join(folder, 'base'), [
      { ...first!, data: first!.data.map((b, i) => (i === 0 ? b ^ 1 : b)) },
      ...rest,
    ])
    await refusal(planFor(folder, resumed), /base model's weights are others/)
  })
})

test('a run killed before its first interval knows its job already', async () => {
  await withBase(async (folder) => {
    await assert.rejects(start(folder, dieAfter(1)), killed)
    const plan = planFor(folder, resumed.replace('learning_rate: 0.02', 'learning_rate: 0.01'))
    const { options } = quiet(folder, { resume: results(folder) })
    const [first] = left(await train(plan, reference, options)())
    assert.match(first.message, /belongs to another job: trainer\.learning_rate was 0\.02/)
  })
})

test('what is no run, or no checkpoint, is refused; a run that never saved begins anew', async () => {
  await withBase(async (folder) => {
    const resume = async (at: string) =>
      train(planFor(folder, resumed), reference, quiet(folder, { resume: at }).options)()
    assert.match(left(await resume(path.join(folder, 'nowhere')))[0].message, /no run to resume/)
    const expected = await whole(folder)
    await assert.rejects(start(folder, dieAfter(4)), killed)
    const progress = path.join(
      results(folder),
      'model',
      'training_checkpoints',
      'latest',
      'progress.json',
    )
    const state = path.join(path.dirname(progress), 'state.safetensors')
    const text = await fs.readFile(progress, 'utf8')
    await fs.writeFile(progress, text.slice(0, -20))
    assert.match(
      left(await resume(results(folder)))[0].message,
      /^progress\.json is not what was written/,
    )
    await fs.writeFile(progress, text)
    const bytes = await fs.readFile(state)
    await fs.writeFile(state, bytes.subarray(0, -4))
    assert.match(left(await resume(results(folder)))[0].message, /^state\.safetensors is not what/)
    await fs.rm(path.join(results(folder), 'model'), { recursive: true })
    const anew = right(await resume(results(folder)))
    assert.deepEqual(await weightsOf(anew.adapterFolder!), expected)
  })
})

test('a failing disk leaves the old checkpoint or the new one, whichever call fails', async () => {
  await withBase(async (folder) => {
    const text = yaml('  skip_all_evaluation: true').replace('epochs: 3', 'epochs: 1')
    const expected = await whole(folder, text)
    const go = (resume?: string) =>
      train(
        planFor(folder, text),
        reference,
        quiet(folder, resume === undefined ? {} : { resume }).options,
      )()
    let n = 0
    const count = async (gate: number): Promise<E.Either<unknown, unknown>> => {
      n = 0
      return gated(
        (call, proceed) => {
          if (!call.path.includes('training_checkpoints')) return proceed()
          n += 1
          return n === gate ? Promise.reject(osError('ENOSPC')) : proceed()
        },
        () => go(),
      )
    }
    right(await count(0))
    const calls = n
    assert.ok(calls > 25, `${calls} calls`)
    let failures = 0
    for (let gate = 1; gate <= calls; gate += 5) {
      await fs.rm(path.join(folder, 'results'), { recursive: true, force: true })
      const ended = await count(gate)
      if (E.isLeft(ended)) failures += 1
      const done = right(await go(results(folder)))
      assert.deepEqual(await weightsOf(done.adapterFolder!), expected, `call ${gate}`)
    }
    assert.ok(failures > calls / 6, `${failures} of ${calls} failed`)
  })
})
