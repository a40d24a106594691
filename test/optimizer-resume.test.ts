/** Whatever steps, and however the rate falls: a run that was stopped and resumed ends in the bytes of one that was not. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { train } from '../src/train/train.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { right } from './right.ts'
import { planFor, quiet, samplesOf, weightsOf, withBase, yaml } from './train-job.ts'

const samples = { train: samplesOf(8), validation: samplesOf(2, 8), test: samplesOf(2, 10) }

const text = (optimizer: string, scheduler: string, rate = 0.02): string =>
  yaml(`  steps_per_checkpoint: 2\n  early_stop: -1\n  learning_rate_scheduler: ${scheduler}`)
    .replace('optimizer: { type: adamw }', `optimizer: ${optimizer}`)
    .replace('learning_rate: 0.02', `learning_rate: ${rate}`)

const plateau =
  '{ reduce_on_plateau: 3, reduce_on_plateau_patience: 0, reduce_on_plateau_rate: 0.5, reduce_eval_split: validation, reduce_eval_metric: token_accuracy }'

const jobs: Readonly<Record<string, string>> = {
  'sgd with Nesterov momentum, on a plateau': text(
    '{ type: sgd, momentum: 0.9, nesterov: true }',
    plateau,
    1,
  ),
  'lion, polynomial': text('{ type: lion, weight_decay: 0.1 }', '{ decay: polynomial }'),
}

const rates = (events: ReadonlyArray<TrainEvent>): ReadonlyArray<number> =>
  events.flatMap((e) => (e._tag === 'step' ? [e.lr] : []))

for (const [name, job] of Object.entries(jobs))
  test(`${name}: stopped after 5 steps and resumed`, async () => {
    await withBase(async (folder) => {
      const whole = quiet(folder)
      const done = right(await train(planFor(folder, job, samples), reference, whole.options)())
      const expected = await weightsOf(done.adapterFolder!)
      let steps = 0
      const first = quiet(folder, { stop: () => ++steps >= 5 })
      const stopped = right(await train(planFor(folder, job, samples), reference, first.options)())
      assert.ok(stopped.stopped)
      const rest = quiet(folder, { resume: stopped.resultsFolder })
      const ended = right(await train(planFor(folder, job, samples), reference, rest.options)())
      assert.deepEqual(await weightsOf(ended.adapterFolder!), expected)
      assert.deepEqual([...rates(first.events), ...rates(rest.events)], rates(whole.events))
      assert.deepEqual(ended.history, done.history)
      // Neither course is flat: what is resumed has fallen, or is on its way.
      assert.ok(new Set(rates(whole.events)).size > 1)
    })
  })
