/** Training a tiny model: it learns, stops when it should, keeps the best, and never saves what is not finite. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import { train } from '../src/train/train.ts'
import { right } from './right.ts'
import { tensorsOf } from './stored.ts'
import {
  planFor,
  quiet,
  samplesOf,
  someRows,
  weightsOf,
  withBase,
  yaml,
  type Rows,
} from './train-job.ts'

import { only, run } from './train-watch.ts'

test('a run learns: the loss falls, and the results folder is complete', async () => {
  await withBase(async (folder) => {
    const rows: Rows = { train: samplesOf(10), validation: samplesOf(3), test: samplesOf(2, 3) }
    const plan = planFor(folder, yaml('  epochs: 12').replace('  epochs: 3\n', ''), rows)
    const { events, result } = await run(plan, folder)
    const steps = only(events, 'step')
    assert.equal(steps.length, 36)
    assert.ok(
      steps.at(-3)!.loss < steps[0]!.loss * 0.75,
      `${steps[0]!.loss} → ${steps.at(-3)!.loss}`,
    )
    assert.ok(result.metrics.validation!.loss! < only(events, 'evaluation')[0]!.validation!.loss)
    assert.equal(
      result.tokens,
      steps.reduce((n, s) => n + s.tokens, 0),
    )
    assert.equal(path.basename(result.resultsFolder), 'experiment_run')
    const files = (await fs.readdir(result.resultsFolder, { recursive: true })).toSorted()
    for (const name of [
      'description.json',
      'ir/00-forward.ir',
      'model/model_hyperparameters.json',
      'model/model_weights/README.md',
      'model/model_weights/adapter_config.json',
      'model/model_weights/adapter_model.safetensors',
      'model/model_weights/tokenizer.json',
      'model/training_checkpoints/latest/progress.json',
      'model/training_progress.json',
      'plan.json',
      'training_statistics.json',
    ])
      assert.ok(files.includes(name), `${name} among ${files.join(' ')}`)
    const stats = JSON.parse(
      await fs.readFile(path.join(result.resultsFolder, 'training_statistics.json'), 'utf8'),
    ) as Record<string, Record<string, Record<string, ReadonlyArray<number>>>>
    assert.equal(stats['validation']!['output']!['loss']!.length, 12)
    assert.equal(stats['training']!['combined']!['loss']!.length, 12)
    assert.deepEqual(stats['test']!['output']!['loss'], [result.metrics.test!.loss])
    const again = await run(plan, folder)
    assert.equal(path.basename(again.result.resultsFolder), 'experiment_run_0')
    assert.deepEqual(
      await weightsOf(again.result.adapterFolder!),
      await weightsOf(result.adapterFolder!),
    )
  })
})

test('how samples are packed into micro-steps does not change the loss curve', async () => {
  await withBase(async (folder) => {
    const curve = async (grid: readonly [number, number]) => {
      const { events } = await run(planFor(folder, yaml(), someRows, [...grid]), folder)
      return only(events, 'step').map((s) => s.loss)
    }
    const [wide, narrow] = [await curve([4, 12]), await curve([1, 6])]
    wide.forEach((l, i) => assert.ok(Math.abs(l - narrow[i]!) < 1e-5 * l, `${l} ${narrow[i]}`))
  })
})

test('the best evaluation is kept and loaded again, and patience ends the run', async () => {
  await withBase(async (folder) => {
    // Validation rows that contradict training: what is learned makes them worse.
    const rows: Rows = {
      train: samplesOf(8),
      validation: samplesOf(8).map((s) => ({ ...s, target: [22, 2] })),
      test: [],
    }
    const text = yaml('  early_stop: 3').replace('epochs: 3', 'epochs: 30')
    const { events, result } = await run(planFor(folder, text, rows), folder)
    const evaluations = only(events, 'evaluation')
    const losses = evaluations.map((e) => e.validation!.loss)
    const best = losses.indexOf(Math.min(...losses))
    assert.equal(evaluations.length, best + 1 + 3, 'three evaluations without improvement')
    assert.deepEqual(
      only(events, 'stopped').map((e) => e.why),
      ['early'],
    )
    assert.equal(result.stopped, false)
    assert.deepEqual(result.kept, { _tag: 'best', step: evaluations[best]!.step })
    assert.equal(result.metrics.validation!.loss, losses[best])
    // Training only as far as the best evaluation gives the same adapter.
    const short = text.replace('epochs: 30', `epochs: ${best + 1}`)
    const until = await run(planFor(folder, short, rows), folder)
    assert.deepEqual(
      await weightsOf(result.adapterFolder!),
      await weightsOf(until.result.adapterFolder!),
    )
  })
})

test('the training loss of an evaluation is that of the steps since the last one', async () => {
  await withBase(async (folder) => {
    const text = yaml().replace('batch_size: 2', 'batch_size: 5')
    const { events, result } = await run(planFor(folder, text), folder)
    const steps = only(events, 'step')
    assert.equal(result.history.length, steps.length)
    result.history.forEach((e, i) => assert.ok(Math.abs(e.running - steps[i]!.loss) < 1e-9))
  })
})

test('without validation rows the last weights are kept, and that is said', async () => {
  await withBase(async (folder) => {
    const rows: Rows = { train: samplesOf(4), validation: [], test: [] }
    const { result } = await run(planFor(folder, yaml(), rows), folder)
    assert.ok(result.kept._tag === 'last' && /no validation rows/.test(result.kept.why))
    assert.equal(result.metrics.validation, null)
    const skipped = await run(planFor(folder, yaml('  skip_all_evaluation: true')), folder)
    assert.ok(skipped.result.kept._tag === 'last' && /skip_all/.test(skipped.result.kept.why))
    assert.equal(only(skipped.events, 'evaluation').length, 0)
    assert.equal(only(skipped.events, 'checkpoint').length, 3)
  })
})

test('eval_steps caps an evaluation, evaluate_training_set adds a pass', async () => {
  await withBase(async (folder) => {
    const capped = await run(
      planFor(folder, yaml('  eval_steps: 1\n  eval_batch_size: 3\n  evaluate_training_set: true')),
      folder,
    )
    for (const e of capped.result.history) {
      for (const m of [e.validation, e.training])
        assert.ok(m !== null && 'sequences' in m && m.sequences === 3)
    }
    assert.ok(capped.result.metrics.train!.token_accuracy !== undefined)
  })
})

test('full fine-tuning writes a model in the dtype of its base', async () => {
  await withBase(async (folder) => {
    const text = yaml().replace(/adapter:\n(?: {2}.*\n)*/, '')
    const { events, result } = await run(planFor(folder, text), folder)
    assert.ok(only(events, 'step').at(-1)!.loss < only(events, 'step')[0]!.loss)
    const names = await fs.readdir(result.adapterFolder!)
    assert.deepEqual(names.toSorted(), [
      'README.md',
      'SHA256SUMS',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ])
    const card = await fs.readFile(path.join(result.adapterFolder!, 'README.md'), 'utf8')
    assert.match(card, /stored as\nBF16, like those of the base/)
    const header = async (f: string) => {
      const all = await fs.readFile(path.join(f, 'model.safetensors'))
      const text = all.toString('utf8', 8, 8 + Number(all.readBigUInt64LE(0)))
      return Object.entries(JSON.parse(text) as Record<string, { dtype: string; shape: unknown }>)
        .filter(([k]) => k !== '__metadata__')
        .map(([k, v]) => [k, v.dtype, v.shape])
    }
    assert.deepEqual(await header(result.adapterFolder!), await header(path.join(folder, 'base')))
  })
})

test('answers are asked before and after, of the untrained and the kept weights', async () => {
  await withBase(async (folder) => {
    const plan = planFor(folder, yaml())
    const b = plan.program.state.find((s) => s.name.endsWith('lora_B.weight'))!.name
    const answer = (session: Session, when: 'before' | 'after') =>
      TE.bimap(
        (e: { readonly message: string }) => ({ message: e.message }),
        (bytes: Uint8Array) => ({ when, zero: bytes.every((x) => x === 0) }),
      )(session.read(b))
    const result = right(await train(plan, reference, { ...quiet(folder).options, answer })())
    assert.deepEqual(result.answers, {
      before: { when: 'before', zero: true },
      after: { when: 'after', zero: false },
    })
  })
})

test('merging on request writes the 16-bit model beside the adapter', async () => {
  await withBase(async (folder) => {
    const text = yaml().replace(
      '  r: 2',
      '  r: 2\n  postprocessor: { merge_adapter_into_base_model: true }',
    )
    const { result } = await run(planFor(folder, text), folder)
    const names = await fs.readdir(result.mergedFolder!)
    assert.deepEqual(names.toSorted(), [
      'SHA256SUMS',
      'config.json',
      'model.safetensors',
      'tokenizer.json',
    ])
    assert.equal(tensorsOf(path.join(result.adapterFolder!, 'adapter_model.safetensors')).size, 8)
  })
})
