/** Rows put to a model that predicts labels: who waits shares the next row of tokens. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { Session } from '../../backends/backend.ts'
import type { Config } from '../config/index.ts'
import { buildLabelled } from '../data/labelled.ts'
import { renderPrompts } from '../data/prompt.ts'
import type { Row } from '../data/cell.ts'
import type { Sample, SampleOptions } from '../data/samples.ts'
import type { Issue, Issues } from '../issue.ts'
import { promptSpec } from '../plan/rows.ts'
import { columnsOf as headColumns } from '../predict/label-columns.ts'
import type { Tokenizer } from '../tokenizer/tokenizer.ts'
import { logitsOf, type LabelJob, type Logits } from '../train/label-task.ts'
import { labelPosts } from './openai/routes.ts'
import { unanswered, unprepared } from './predict.ts'
import { columnsOf, tableOf } from './prompts.ts'
import { refusal, type Refusal, type Service } from './service.ts'

export interface LabelModel {
  readonly name: string
  readonly created: number
  readonly config: Config
  readonly tokenizer: Tokenizer
  readonly job: LabelJob
  /** As in training; a row of tokens is the longest that is asked. */
  readonly limits: SampleOptions
  readonly session: Session
  /** Rows that may wait. */
  readonly queue: number
}

interface Waiting {
  readonly sample: Sample
  readonly done: (logits: E.Either<Issue | null, ReadonlyArray<ReadonlyArray<number>>>) => void
  readonly signal: AbortSignal
}

/** Rows that share a call: as many as have places for their tokens, at least one. */
const share = (waiting: Array<Waiting>, places: number): ReadonlyArray<Waiting> => {
  let [count, tokens] = [0, 0]
  for (const { sample } of waiting) {
    tokens += sample.prompt.length
    if (count > 0 && tokens > places) break
    count++
  }
  return waiting.splice(0, count)
}

const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const samplesOf = (
  m: LabelModel,
  rows: ReadonlyArray<Row>,
): E.Either<Issues, ReadonlyArray<Sample>> =>
  pipe(
    renderPrompts(promptSpec(m.config), tableOf(rows)),
    E.chain((prompts) => {
      const texts = prompts.map((prompt, row) => ({ row, prompt, target: null }))
      return buildLabelled(m.tokenizer, texts, [], m.limits)
    }),
    E.map(({ samples }) => samples),
  )

/** A row that is longer than a call, or has no token. */
const unfit = (m: LabelModel, rows: number, samples: ReadonlyArray<Sample>): Refusal | null => {
  const { length } = m.job.shapes
  const long = samples.find((s) => s.prompt.length > length)
  if (long !== undefined)
    return refusal(
      400,
      `row ${long.row + 1} has ${long.prompt.length} tokens, and a row may have ${length}`,
    )
  return samples.length < rows ? refusal(400, 'a row has no token') : null
}

export const labelService = (m: LabelModel): Service => {
  const { shapes, labels, targets } = m.job
  const waiting: Array<Waiting> = []
  let [driving, closing, running] = [false, false, 0]
  let idle: Array<() => void> = []

  const drive = async (): Promise<void> => {
    driving = true
    await breathe()
    while (waiting.length > 0) {
      const here = share(waiting, shapes.rows * shapes.length)
      running = here.length
      const left = here.filter((w) => !w.signal.aborted)
      const samples = left.map((w) => w.sample)
      const got = await logitsOf(m.job, m.session, samples)()
      left.forEach((w, i) =>
        w.done(E.isLeft(got) ? got : E.right(got.right.map((head) => head[i]!))),
      )
      for (const w of here) if (w.signal.aborted) w.done(E.left(null))
      running = 0
      await breathe()
    }
    driving = false
    for (const done of idle) done()
    idle = []
  }

  const ask = (sample: Sample, signal: AbortSignal) =>
    new Promise<E.Either<Issue | null, ReadonlyArray<ReadonlyArray<number>>>>((done) => {
      waiting.push({ sample, done, signal })
      if (!driving) void drive()
    })

  /** Head by head, of all rows. */
  const logitsFor = async (
    samples: ReadonlyArray<Sample>,
    signal: AbortSignal,
  ): Promise<E.Either<Refusal, Logits>> => {
    if (closing) return E.left(unanswered('closing'))
    if (waiting.length + samples.length > m.queue) return E.left(unanswered('full'))
    return pipe(
      await Promise.all(samples.map((s) => ask(s, signal))),
      E.sequenceArray,
      E.bimap(unanswered, (rows) => labels.heads.map((_, h) => rows.map((row) => row[h]!))),
    )
  }

  const names = targets.flatMap((t) => headColumns(t, []).map((c) => c.name))
  return {
    name: m.name,
    created: m.created,
    posts: labelPosts,
    inputs: columnsOf(m),
    columns: names,
    predict: async (rows, signal) => {
      const samples = samplesOf(m, rows)
      if (E.isLeft(samples)) return E.left(unprepared(samples.left))
      const why = unfit(m, rows.length, samples.right)
      if (why !== null) return E.left(why)
      return pipe(
        await logitsFor(samples.right, signal),
        E.map((logits) => {
          const columns = targets.flatMap((t, h) => headColumns(t, logits[h]!))
          return rows.map((_, i) => columns.map((c) => c.values[i]))
        }),
      )
    },
    counts: () => ({ running, waiting: waiting.length }),
    close: async () => {
      closing = true
      if (driving) await new Promise<void>((resolve) => idle.push(resolve))
    },
  }
}
