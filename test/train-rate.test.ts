/** Learning rates against torch's and transformers' own schedulers, and the schedule of steps by its laws. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseConfig, type Config } from '../src/config/index.ts'
import { courseOf } from '../src/train/course.ts'
import { reduced, reductionsOf } from '../src/train/plateau.ts'
import type { Evaluation } from '../src/train/progress.ts'
import { rateAt, rateOf } from '../src/train/rate.ts'
import { epochOf, runOf, stepsOf, ticksDone, type Run } from '../src/train/schedule.ts'
import { load } from './golden.ts'
import { right } from './right.ts'
import { yaml } from './train-job.ts'

type Scheduler = Config['trainer']['learning_rate_scheduler']

interface Case {
  readonly by: string
  readonly decay: Scheduler['decay']
  readonly total: number
  readonly warmup: number
  readonly lr: number
  readonly scheduler: Partial<Scheduler>
  /** Evaluations every `interval` ticks, and what they find. */
  readonly plateau?: {
    readonly mode: 'min' | 'max'
    readonly limit: number
    readonly factor: number
    readonly patience: number
    readonly interval: number
    readonly values: ReadonlyArray<number>
  }
  readonly rates: ReadonlyArray<number>
}

const { cases } = JSON.parse(
  fs.readFileSync(path.join(import.meta.dirname, 'fixtures', 'train', 'rates.json'), 'utf8'),
) as { readonly cases: ReadonlyArray<Case> }

const near = (a: number, b: number): boolean => Math.abs(a - b) <= 1e-12 * Math.max(1, Math.abs(b))

const configOf = (trainer: string): Config =>
  right(
    parseConfig(yaml('').replace(/trainer:\n[^]*$/, `trainer:\n  type: finetune\n${trainer}`), {
      file: 'job.yaml',
    }),
  ).config

/** An evaluation that finds `value`, as a loss or as a share of right tokens. */
const evaluation = (ticks: number, value: number): Evaluation => ({
  step: ticks,
  ticks,
  epoch: 0,
  learningRate: 0,
  running: value,
  training: { lossSum: value, correct: value, scored: 1, sequences: 1, sequencesRight: 0 },
  validation: null,
})

for (const c of cases)
  test(`rates of ${c.by}: ${c.decay}, ${c.total} ticks, warm-up ${c.warmup}, ${JSON.stringify(c.scheduler)}${c.plateau === undefined ? '' : `, ${c.plateau.mode} on a plateau from ${c.lr}`}`, () => {
    const p = c.plateau
    const s: Scheduler = {
      ...configOf('  epochs: 1').trainer.learning_rate_scheduler,
      decay: c.decay,
      ...c.scheduler,
      ...(p === undefined
        ? {}
        : {
            reduce_on_plateau: p.limit,
            reduce_on_plateau_patience: p.patience,
            reduce_on_plateau_rate: p.factor,
            reduce_eval_metric: p.mode === 'min' ? 'loss' : 'token_accuracy',
          }),
    }
    const rate = {
      learningRate: c.lr,
      course: courseOf(s, 5),
      total: c.total,
      warmup: c.warmup,
    }
    const history = (p?.values ?? []).map((v, i) => evaluation((i + 1) * p!.interval, v))
    c.rates.forEach((expected, tick) => {
      const seen = reductionsOf(
        s,
        history.filter((e) => e.ticks <= tick),
      )
      const is = reduced(s, seen, tick, rateAt(rate, tick))
      assert.ok(near(is, expected), `tick ${tick}: ${is}, torch ${expected}`)
    })
  })

const sizes = (batch: number, accumulation: number) => ({
  batch,
  accumulation,
  effective: batch * accumulation,
})

test('the golden run: linear decay after a quarter of warm-up, one sample a step', () => {
  const c = configOf(
    '  learning_rate: 0.01\n  train_steps: 12\n  learning_rate_scheduler: { decay: linear, warmup_fraction: 0.25 }',
  )
  const run = runOf(c, 3, sizes(1, 1))
  const rate = rateOf(c.trainer, run)
  const rates = [...stepsOf(run)].map((s) => rateAt(rate, s.tick))
  const golden = load('llama2-tiny').numbers.get('train.lrs')!
  assert.equal(rates.length, golden.length)
  rates.forEach((r, i) => assert.ok(near(r, golden[i]!), `step ${i}: ${r}, ${golden[i]}`))
})

test('warm-up in evaluations, the longer warm-up wins, cosine restarts each evaluation unless t_0 is given', () => {
  const of = (s: string) => {
    const c = configOf(`  epochs: 4\n  learning_rate_scheduler: { ${s} }`)
    return rateOf(c.trainer, runOf(c, 10, sizes(2, 1)))
  }
  assert.equal(of('warmup_evaluations: 2').warmup, 10)
  assert.equal(of('warmup_evaluations: 1, warmup_fraction: 0.5').warmup, 10)
  assert.equal(of('warmup_fraction: 0.5, decay: wsd').warmup, 0)
  for (const [said, period] of [
    ['decay: cosine', 5],
    ['decay: cosine, t_0: 7', 7],
  ] as const) {
    const rate = of(said)
    assert.ok(rateAt(rate, period - 1) < rateAt(rate, period), said)
    assert.equal(rateAt(rate, period), rate.learningRate)
  }
})

interface Shape {
  readonly rows: number
  readonly batch: number
  readonly accumulation: number
  readonly epochs: number
  readonly trainSteps: number | null
  readonly stepsPerCheckpoint: number
  readonly checkpointsPerEpoch: number
  readonly seed: number
}

const shape: fc.Arbitrary<Shape> = fc.record({
  rows: fc.integer({ min: 1, max: 40 }),
  batch: fc.integer({ min: 1, max: 7 }),
  accumulation: fc.integer({ min: 1, max: 5 }),
  epochs: fc.integer({ min: 1, max: 4 }),
  trainSteps: fc.option(fc.integer({ min: 1, max: 60 })),
  stepsPerCheckpoint: fc.integer({ min: 0, max: 9 }),
  checkpointsPerEpoch: fc.integer({ min: 0, max: 3 }),
  seed: fc.integer({ min: 0, max: 99 }),
})

const plain = configOf('  epochs: 1')

const runFor = (s: Shape): Run =>
  runOf(
    {
      ...plain,
      random_seed: s.seed,
      trainer: {
        ...plain.trainer,
        epochs: s.epochs,
        train_steps: s.trainSteps,
        steps_per_checkpoint: s.checkpointsPerEpoch > 0 ? 0 : s.stepsPerCheckpoint,
        checkpoints_per_epoch: s.checkpointsPerEpoch,
      },
    },
    s.rows,
    sizes(s.batch, s.accumulation),
  )

/** Ludwig's loop, one micro-batch after another: how many samples each update sees, and when it evaluates. */
const simulated = (s: Shape) => {
  const perEpoch = Math.ceil(s.rows / s.batch)
  const total = s.trainSteps ?? s.epochs * perEpoch
  const wanted =
    s.checkpointsPerEpoch > 0
      ? Math.max(1, Math.floor(perEpoch / s.checkpointsPerEpoch))
      : s.stepsPerCheckpoint || perEpoch
  const interval = Math.min(wanted, perEpoch)
  const steps: Array<{ tick: number; epoch: number; size: number; marks: boolean }> = []
  let [pending, due] = [0, false]
  for (let tick = 0; tick < total; tick++) {
    const inEpoch = tick % perEpoch
    pending += Math.min(s.batch, s.rows - inEpoch * s.batch)
    due ||= (tick + 1) % interval === 0
    const last = tick + 1 === total
    if ((inEpoch + 1) % s.accumulation === 0 || inEpoch + 1 === perEpoch || last) {
      steps.push({ tick, epoch: Math.floor(tick / perEpoch), size: pending, marks: due || last })
      ;[pending, due] = [0, false]
    }
  }
  return steps
}

test('steps, their sizes, ticks and evaluations are those of a loop over micro-batches', () => {
  fc.assert(
    fc.property(shape, (s) => {
      const run = runFor(s)
      const steps = [...stepsOf(run)]
      assert.equal(steps.length, run.steps)
      assert.deepEqual(
        steps.map((x) => ({
          tick: x.tick,
          epoch: x.epoch,
          size: x.samples.length,
          marks: x.marks,
        })),
        simulated(s),
      )
    }),
    { numRuns: 300 },
  )
})

test('every epoch visits every row once, and epochs differ', () => {
  fc.assert(
    fc.property(shape, (s) => {
      const run = runFor({ ...s, trainSteps: null })
      const all = [...stepsOf(run)]
      const epochs = Array.from({ length: s.epochs }, (_, e) => all.filter((x) => x.epoch === e))
      assert.equal(epochs.flat().length, all.length)
      for (const steps of epochs)
        assert.deepEqual(
          steps.flatMap((x) => x.samples).toSorted((a, b) => a - b),
          Array.from({ length: s.rows }, (_, i) => i),
        )
      const orders = epochs.map((steps) => steps.flatMap((x) => x.samples).join())
      if (s.rows > 20) assert.equal(new Set(orders).size, orders.length)
    }),
  )
})

test('the rest of a run is the same whether or not its beginning was lived through', () => {
  fc.assert(
    fc.property(shape, fc.nat(), (s, k) => {
      const run = runFor(s)
      const from = k % (run.steps + 1)
      const all = [...stepsOf(run)]
      assert.deepEqual([...stepsOf(run, from)], all.slice(from))
      assert.equal(ticksDone(run, from), from === 0 ? 0 : all[from - 1]!.tick + 1)
      if (from < run.steps) assert.equal(epochOf(run, from), all[from]!.epoch)
    }),
  )
})
