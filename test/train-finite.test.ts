/** What a run survives and what it refuses to save: numbers that are not finite, overflow, nothing learned. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { bestOf, sinceBest, type Evaluation } from '../src/train/progress.ts'
import { train } from '../src/train/train.ts'
import { right } from './right.ts'
import {
  left,
  planFor,
  quiet,
  samplesOf,
  someRows,
  weightsOf,
  withBase,
  yaml,
  type Rows,
} from './train-job.ts'

import { only, tampered } from './train-watch.ts'

const evaluationOf = (validation: Evaluation['validation']): Evaluation => ({
  ...{ step: 0, ticks: 0, epoch: 0, learningRate: 0, running: 1, training: null },
  validation,
})

test('which evaluation is best: higher accuracy, lower loss, never a NaN, the first of equals', () => {
  const accuracies = [1, 3, NaN, 3, 2].map((correct) =>
    evaluationOf({ lossSum: correct, correct, scored: 4, sequences: 1, sequencesRight: 0 }),
  )
  assert.equal(bestOf(accuracies, 'token_accuracy'), 1)
  assert.equal(bestOf(accuracies, 'loss'), 0)
  assert.equal(bestOf(accuracies.slice(1), 'perplexity'), 3)
  assert.equal(sinceBest(accuracies, 'token_accuracy'), 3)
  assert.equal(bestOf(accuracies.slice(2, 3), 'loss'), null)
  assert.equal(sinceBest(accuracies.slice(2, 3), 'loss'), 1)
  assert.equal(bestOf([evaluationOf(null)], 'loss'), null)
  assert.equal(sinceBest([evaluationOf(null)], 'loss'), 0)
})

test('a NaN never wins a run either', async () => {
  await withBase(async (folder) => {
    const losses = [NaN, 3, NaN, 3, 4]
    const backend = tampered((fn, _, outs, n) =>
      fn === 'evaluate'
        ? { ...outs, nll: new Float32Array(outs['nll']!.length).fill(losses[n - 1]!) }
        : outs,
    )
    const rows: Rows = { train: samplesOf(4), validation: samplesOf(4), test: [] }
    const text = yaml('  early_stop: 0').replace('epochs: 3', 'epochs: 5')
    const { events, options } = quiet(folder)
    const result = right(await train(planFor(folder, text, rows), backend, options)())
    assert.deepEqual(
      only(events, 'evaluation').map((e) => e.improved),
      [false, true, false, false, false],
    )
    assert.deepEqual(result.kept, { _tag: 'best', step: 2 })
  })
})

test('a results folder that cannot be made is told before anything is loaded', async () => {
  await withBase(async (folder) => {
    await fs.writeFile(path.join(folder, 'results'), 'a file')
    const [first] = left(
      await train(planFor(folder, yaml()), reference, {
        ...quiet(folder).options,
        answer: () => {
          throw new Error('asked too early')
        },
      })(),
    )
    assert.match(first.message, /cannot make the results folder/)
  })
})

test('a loss or a norm that is not finite stops the run, names its rows and saves nothing', async () => {
  await withBase(async (folder) => {
    for (const [fn, out, what] of [
      ['micro', 'loss', 'loss'],
      ['update', 'grad_norm', 'gradient norm'],
    ] as const) {
      const backend = tampered((name, _, outs, n) =>
        name === fn && n === 5 ? { ...outs, [out]: Float32Array.of(NaN) } : outs,
      )
      const { events, options } = quiet(folder)
      const [first] = left(await train(planFor(folder, yaml()), backend, options)())
      assert.match(
        first.message,
        new RegExp(`^the ${what} of optimizer step \\d+ is NaN, in line \\d+`),
      )
      assert.equal(first.file, 'rows.csv')
      assert.ok(only(events, 'checkpoint').every((c) => c.step <= 3))
      assert.equal(only(events, 'done').length, 0)
    }
  })
})

test('weights that overflow are not saved', async () => {
  await withBase(async (folder) => {
    let session: Session | undefined
    const backend = tampered(
      (_, __, outs) => outs,
      (s) => {
        session = s
      },
    )
    const plan = planFor(folder, yaml())
    const { events, options } = quiet(folder)
    const name = plan.program.state.find((s) => s.name.startsWith('adam.v'))!
    const poison = (e: TrainEvent): void => {
      events.push(e)
      const bytes = new Uint8Array(
        Float32Array.from({ length: name.type.shape.reduce((a, b) => a * b) }, () => Infinity)
          .buffer,
      )
      if (e._tag === 'step' && e.step === 6) void session!.write(name.name, bytes)()
    }
    const [first] = left(await train(plan, backend, { ...options, onEvent: poison })())
    assert.match(first.message, /^adam\.v.* holds Infinity at \[0, 0\], and is not saved$/)
    assert.deepEqual(
      only(events, 'checkpoint').map((c) => c.step),
      [3],
    )
  })
})

test('float16 with loss scaling skips an overflowing step without counting it', async () => {
  await withBase(async (folder) => {
    const given: Array<number> = []
    const backend = tampered((fn, inputs, outs, n) => {
      if (fn === 'update') given.push(inputs['step']![0]!)
      return fn === 'update' && n === 2 ? { ...outs, finite: Float32Array.of(0) } : outs
    })
    const { events, options } = quiet(folder)
    const plan = planFor(folder, yaml('', 'compiler: { compute_dtype: float16 }'))
    right(await train(plan, backend, options)())
    assert.deepEqual(given.slice(0, 4), [1, 2, 2, 3])
    assert.deepEqual(
      only(events, 'step')
        .map((s) => s.applied)
        .slice(0, 3),
      [true, false, true],
    )
  })
})

test('float16 that overflows at every loss scale ends with an issue', async () => {
  await withBase(async (folder) => {
    const backend = tampered((fn, _, outs) =>
      fn === 'update'
        ? { ...outs, finite: Float32Array.of(0), grad_norm: Float32Array.of(Infinity) }
        : outs,
    )
    const tiny: Backend = {
      ...backend,
      prepare: (p) =>
        pipe(
          backend.prepare(p),
          TE.map((s) => ({
            ...s,
            read: (name) =>
              name === 'scaler.scale'
                ? TE.right(new Uint8Array(Float32Array.of(2 ** -15).buffer))
                : s.read(name),
          })),
        ),
    }
    const plan = planFor(folder, yaml('', 'compiler: { compute_dtype: float16 }'))
    const [first] = left(await train(plan, tiny, quiet(folder).options)())
    assert.match(first.hint!, /overflow float16 at every loss scale/)
  })
})

test('dropout draws anew in each step, repeats itself in a second run, and micro-batches do not change it', async () => {
  await withBase(async (folder) => {
    const seeds: Array<number> = []
    const watching = tampered((fn, inputs, outs) => {
      if (fn === 'micro') seeds.push(inputs['seed']![0]!)
      return outs
    })
    const text = yaml().replace('dropout: 0', 'dropout: 0.3')
    const of = async (rows: number, length: number) => {
      seeds.length = 0
      const plan = planFor(folder, text, someRows, [rows, length])
      const { events, options } = quiet(folder)
      const result = right(await train(plan, watching, options)())
      const steps = only(events, 'step').map((e) => ({ loss: e.loss, norm: e.gradNorm }))
      return { steps, micros: [...seeds], adapter: await weightsOf(result.adapterFolder!) }
    }
    const [once, again, wide] = [await of(1, 6), await of(1, 6), await of(2, 12)]
    assert.equal(new Set(once.micros).size, once.steps.length)
    assert.ok(once.micros.length > wide.micros.length)
    assert.deepEqual(again, once)
    for (const [i, { loss, norm }] of once.steps.entries()) {
      const other = wide.steps[i]!
      assert.ok(Math.abs(loss - other.loss) < 1e-4 * loss, `step ${i}: ${loss} and ${other.loss}`)
      assert.ok(Math.abs(norm - other.norm) < 1e-4 * norm, `step ${i}: ${norm} and ${other.norm}`)
    }
  })
})

test('an adapter that learned nothing is no success', async () => {
  await withBase(async (folder) => {
    const forgetful: Backend = {
      ...reference,
      prepare: (p) =>
        TE.map((s: Session): Session => ({
          ...s,
          run: (fn, inputs) =>
            fn === 'update' ? TE.right({ grad_norm: Float32Array.of(1) }) : s.run(fn, inputs),
        }))(reference.prepare(p)),
    }
    const [first] = left(await train(planFor(folder, yaml()), forgetful, quiet(folder).options)())
    assert.match(first.message, /no-op/)
    assert.equal(
      (await fs.readdir(path.join(folder, 'results', 'experiment_run', 'model'))).includes(
        'model_weights',
      ),
      false,
    )
  })
})
