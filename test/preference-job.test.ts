/** Whole runs that learn preferences: the reference is asked once and kept, a killed run goes on, metrics reach the files. */
import assert from 'node:assert/strict'
import fs from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'
import { reference } from '../backends/reference/index.ts'
import { fnOf } from '../ir/graph.ts'
import { size } from '../ir/type.ts'
import { feedsOf } from '../src/profile/measure.ts'
import { train } from '../src/train/train.ts'
import { holds } from './fc.ts'
import { right } from './right.ts'
import { planFor, quiet, samplesOf, weightsOf, withBase, yaml, type Rows } from './train-job.ts'

/** The worse answer is one that another prompt has. */
const pairs = (n: number, from = 0): Rows['train'] =>
  samplesOf(n, from).map((s, i) => ({ ...s, rejected: [10 + ((s.target[0]! + i) % 7), 2] }))

const rows: Rows = { train: pairs(8), validation: pairs(4, 10), test: pairs(3, 14) }

/** Good and bad answers in turn, each with the one of the row before beside it. */
const labelled = (all: Rows['train']): Rows['train'] =>
  all.map(({ rejected, ...s }, i) => ({
    ...s,
    target: i % 2 === 0 ? s.target : rejected!,
    desirable: i % 2 === 0,
    other: all.at(i - 1)!.target,
  }))

const jobs = {
  dpo: { text: yaml('  beta: 0.3').replace('type: finetune', 'type: dpo'), rows },
  orpo: { text: yaml().replace('type: finetune', 'type: orpo'), rows },
  kto: {
    text: yaml('  desirable_weight: 1.5').replace('type: finetune', 'type: kto'),
    rows: {
      train: labelled(rows.train),
      validation: labelled(rows.validation),
      test: labelled(rows.test),
    },
  },
}

const cacheIn = (folder: string): string => path.join(folder, 'results', 'cache')

const told = (events: ReturnType<typeof quiet>['events']) =>
  events.flatMap((e) => (e._tag === 'reference' ? [e.computed] : []))

test('dpo: the reference is asked once for all runs of its kind, a stopped run ends in the same bytes, and a damaged cache is made anew', () =>
  withBase(async (folder) => {
    const plan = planFor(folder, jobs.dpo.text, rows, [2, 16])
    const whole = quiet(folder)
    const done = right(await train(plan, reference, whole.options)())
    assert.deepEqual(told(whole.events), [true])
    const { test: held, train: learned } = done.metrics
    holds(Number.isFinite(held!['reward_margin']))
    holds(learned!['reward_accuracy']! > 0.5)
    const steps = whole.events.flatMap((e) => (e._tag === 'step' ? [e] : []))
    assert.ok(Math.abs(steps[0]!.loss - Math.LN2) < 1e-6, 'a model stands where its reference does')
    holds(steps.at(-1)!.loss < 0.6, `${steps.at(-1)!.loss}`)
    holds(steps.at(-1)!.metrics['reward_margin']! > 0)
    const file = path.join(done.resultsFolder, 'training_statistics.json')
    const { validation, test: last } = JSON.parse(await fs.readFile(file, 'utf8')) as Record<
      string,
      { readonly output: Readonly<Record<string, ReadonlyArray<number>>> }
    >
    assert.equal(validation!.output['reward_accuracy']!.length, 3)
    assert.deepEqual(Object.keys(last!.output).toSorted(), [
      'loss',
      'reward_accuracy',
      'reward_chosen',
      'reward_margin',
      'reward_rejected',
      'sequence_accuracy',
      'token_accuracy',
    ])

    let seen = 0
    const first = quiet(folder, { stop: () => ++seen === 2 })
    const stopped = right(await train(plan, reference, first.options)())
    assert.deepEqual(told(first.events), [false])
    const [name] = await fs.readdir(cacheIn(folder))
    const kept = path.join(cacheIn(folder), name!)
    const sound = await fs.readFile(kept, 'utf8')
    await fs.writeFile(
      kept,
      sound.replace(/(\d)\]\]/, (_, d) => `${(Number(d) + 1) % 10}]]`),
    )
    const second = quiet(folder, { resume: stopped.resultsFolder })
    const resumed = right(await train(plan, reference, second.options)())
    assert.deepEqual(told(second.events), [true])
    assert.equal(await fs.readFile(kept, 'utf8'), sound)
    assert.deepEqual(await weightsOf(resumed.adapterFolder!), await weightsOf(done.adapterFolder!))
  }))

test('a profile feeds every input of a micro-step, with rows and without', () =>
  withBase(async (folder) => {
    for (const { text, rows: all } of Object.values(jobs)) {
      const plan = planFor(folder, text, all, [2, 16])
      const { inputs } = fnOf(plan.program, 'micro')!
      for (const given of [plan, { ...plan, data: null }])
        for (const f of right(feedsOf(given)))
          for (const i of inputs) assert.equal(f[i.name]!.length, size(i.type), i.name)
    }
    return Promise.resolve()
  }))

for (const [name, job] of Object.entries(jobs).slice(1))
  test(`${name}: the loss falls and good answers are rewarded`, () =>
    withBase(async (folder) => {
      const plan = planFor(folder, job.text, job.rows, [2, 16])
      const { events, options } = quiet(folder)
      const done = right(await train(plan, reference, options)())
      assert.deepEqual(told(events), name === 'orpo' ? [] : [true])
      const losses = events.flatMap((e) => (e._tag === 'step' ? [e.loss] : []))
      // Two steps an epoch.
      const epoch = (n: number) => losses.slice(2 * n, 2 * n + 2).reduce((a, b) => a + b, 0)
      holds(epoch(2) < epoch(0), losses.join())
      const margins = done.history.map((h) => h.trained!['reward_margin']!)
      holds(margins.at(-1)! > margins[0]!, margins.join())
      holds(Number.isFinite(done.metrics.test!.loss))
    }))
