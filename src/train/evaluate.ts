/** Teacher-forced counts of a split. */
import * as E from 'fp-ts/lib/Either.js'
import type { Session } from '../../backends/backend.ts'
import type { Config } from '../config/schema/config.ts'
import { packBatch, unscored, type MicroBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import { rowName, type Table } from '../data/cell.ts'
import { issue, type Issue } from '../issue.ts'
import type { Batching } from '../plan/batch.ts'
import { add, noCounts, type Counts } from './measured.ts'
import { call } from './problem.ts'

/** Counts of one micro-batch; a sample lies within one row, under one segment number. */
export const countsOf = (
  batch: MicroBatch,
  length: number,
  nll: ArrayLike<number>,
  argmax: ArrayLike<number>,
): Counts => {
  const right = new Map<string, boolean>()
  let [lossSum, correct, scored] = [0, 0, 0]
  batch.targets.forEach((target, i) => {
    if (target === unscored) return
    const hit = argmax[i] === target
    const sample = `${Math.floor(i / length)}/${batch.segments[i]}`
    right.set(sample, hit && (right.get(sample) ?? true))
    lossSum += nll[i]!
    correct += hit ? 1 : 0
    scored += 1
  })
  const sequencesRight = [...right.values()].filter(Boolean).length
  return { lossSum, correct, scored, sequences: right.size, sequencesRight }
}

type Rows = { readonly rows: number; readonly length: number }

/** What an evaluation says of a batch whose loss is no number. */
export type Blame = (loss: number, samples: ReadonlyArray<Sample>) => Issue

const MANY = 8

/** The issue that names rows of the table, so that they can be looked at. */
export const blameRows =
  (table: Table): Blame =>
  (loss, samples) => {
    const rows = samples.map((s) => rowName(table, s.row))
    const more = rows.length > MANY ? ` and ${rows.length - MANY} more` : ''
    return issue(`the loss is ${loss} in ${rows.slice(0, MANY).join(', ')}${more}`, {
      file: table.file,
      expected: 'a finite number',
      hint: 'the model has diverged or compute_dtype is too narrow for it: try compiler.compute_dtype: float32, and look at these rows',
    })
  }

/**
 * Runs `evaluate` over the samples, packed into the program's rows. A loss that is not finite is counted, for a run
 * may recover from it; with `blame` it is Left.
 */
export const evaluateSamples =
  (session: Session, shape: Rows, samples: ReadonlyArray<Sample>, blame?: Blame) =>
  async (): Promise<E.Either<Issue, Counts>> => {
    const packed = packBatch(samples, { rows: shape.rows, length: shape.length })
    if (E.isLeft(packed)) return packed
    let counts = noCounts
    for (const batch of packed.right) {
      const { tokens, positions, segments, targets } = batch
      const ran = await call(session.run('evaluate', { tokens, positions, segments, targets }))()
      if (E.isLeft(ran)) return ran
      const more = countsOf(batch, shape.length, ran.right['nll']!, ran.right['argmax']!)
      if (blame !== undefined && !Number.isFinite(more.lossSum))
        return E.left(
          blame(
            more.lossSum,
            batch.samples.map((i) => samples[i]!),
          ),
        )
      counts = add(counts, more)
    }
    return E.right(counts)
  }

/** The samples an evaluation looks at: `eval_steps` batches of `eval_batch_size` at most (Ludwig: no smaller than `batch_size`). */
export const evaluated = (
  t: Config['trainer'],
  { batch }: Batching,
  samples: ReadonlyArray<Sample>,
): ReadonlyArray<Sample> => {
  const size = t.eval_batch_size === 'auto' ? batch : Math.max(t.eval_batch_size ?? 1, batch)
  return t.eval_steps === null ? samples : samples.slice(0, t.eval_steps * size)
}
