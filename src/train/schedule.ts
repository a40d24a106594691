/** Which samples each optimizer step sees and where evaluations fall: a function of the step's index alone. */
import type { Config } from '../config/schema/config.ts'
import { order } from '../data/order.ts'
import { lengthOf } from '../data/pack.ts'
import { batchingOf, type Batching } from '../plan/batch.ts'
import type { Dataset } from '../plan/dataset.ts'
import type { Plan } from '../plan/plan.ts'

/** Counts of a run. A tick is one of Ludwig's steps: a micro-batch of `batch` samples. */
export interface Run {
  readonly rows: number
  readonly batching: Batching
  readonly ticksPerEpoch: number
  /** Optimizer steps of a whole epoch; the last may have fewer samples. */
  readonly stepsPerEpoch: number
  /** Ticks and optimizer steps of the run. */
  readonly total: number
  readonly steps: number
  /** Ticks between evaluations, at most an epoch. */
  readonly interval: number
  readonly seed: number
  readonly shuffle: boolean
}

export interface Step {
  /** 0-based. */
  readonly index: number
  readonly epoch: number
  /** 0-based index of its last tick, at which the learning rate is taken. */
  readonly tick: number
  /** Indices into the training samples. */
  readonly samples: ReadonlyArray<number>
  /** Whether an evaluation and a checkpoint follow. */
  readonly marks: boolean
}

const intervalOf = (t: Config['trainer'], ticksPerEpoch: number): number => {
  const wanted =
    t.checkpoints_per_epoch > 0
      ? Math.max(1, Math.floor(ticksPerEpoch / t.checkpoints_per_epoch))
      : t.steps_per_checkpoint
  return wanted === 0 ? ticksPerEpoch : Math.min(wanted, ticksPerEpoch)
}

/** The run of a config over `rows` training samples (at least one). No row is ever dropped. */
export const runOf = (c: Config, rows: number, batching: Batching): Run => {
  const ticksPerEpoch = Math.ceil(rows / batching.batch)
  const stepsPerEpoch = Math.ceil(ticksPerEpoch / batching.accumulation)
  const total = c.trainer.train_steps ?? c.trainer.epochs * ticksPerEpoch
  const whole = Math.floor(total / ticksPerEpoch)
  const rest = Math.ceil((total - whole * ticksPerEpoch) / batching.accumulation)
  return {
    rows,
    batching,
    ticksPerEpoch,
    stepsPerEpoch,
    total,
    steps: whole * stepsPerEpoch + rest,
    interval: intervalOf(c.trainer, ticksPerEpoch),
    seed: c.random_seed,
    shuffle: c.trainer.should_shuffle,
  }
}

/** Samples that one micro-step holds on average: what `batch_size: auto` stands for. */
const fitting = (plan: Plan, data: Dataset): number => {
  if (plan.base.labels?.cached === true) return plan.shapes.rows
  const all = Object.values(data.samples).flat()
  const mean = all.reduce((n, s) => n + lengthOf(s), 0) / Math.max(1, all.length)
  return Math.max(1, Math.floor((plan.shapes.rows * plan.shapes.length) / mean))
}

/** The steps of a plan's run. */
export const runOfPlan = (plan: Plan, data: Dataset): Run =>
  runOf(
    plan.config,
    data.samples.train.length,
    batchingOf(plan.config.trainer, fitting(plan, data)),
  )

/** The ticks of a step, from `begin` to before `end`: a group ends with its epoch and with the run. */
const ticksOf = (run: Run, index: number) => {
  const epoch = Math.floor(index / run.stepsPerEpoch)
  const start = epoch * run.ticksPerEpoch
  const begin = start + (index % run.stepsPerEpoch) * run.batching.accumulation
  const end = Math.min(begin + run.batching.accumulation, start + run.ticksPerEpoch, run.total)
  return { epoch, start, begin, end }
}

/** The epoch a step belongs to, 0-based. */
export const epochOf = (run: Run, index: number): number => ticksOf(run, index).epoch

/** The step that holds a tick, or the first whole one after it. */
export const stepOfTick = (run: Run, tick: number): number => {
  const epoch = Math.floor(tick / run.ticksPerEpoch)
  const within = Math.ceil(tick) - epoch * run.ticksPerEpoch
  return epoch * run.stepsPerEpoch + Math.floor(within / run.batching.accumulation)
}

/** Ticks that are over once `steps` optimizer steps are. */
export const ticksDone = (run: Run, steps: number): number =>
  steps === 0 ? 0 : ticksOf(run, steps - 1).end

const stepIn = (run: Run, index: number, visiting: ReadonlyArray<number>): Step => {
  const { epoch, start, begin, end } = ticksOf(run, index)
  const { batch } = run.batching
  const passes = Math.floor(end / run.interval) > Math.floor(begin / run.interval)
  return {
    index,
    epoch,
    tick: end - 1,
    samples: visiting.slice((begin - start) * batch, (end - start) * batch),
    marks: passes || index === run.steps - 1,
  }
}

/** The steps from `from` to the end of the run. */
export function* stepsOf(run: Run, from = 0): Generator<Step, void> {
  let epoch = -1
  let visiting: ReadonlyArray<number> = []
  for (let index = from; index < run.steps; index++) {
    const now = epochOf(run, index)
    if (now !== epoch) visiting = order(run.rows, run.seed, now, run.shuffle)
    epoch = now
    yield stepIn(run, index, visiting)
  }
}
