/** What a run learns: how samples become the inputs of micro-steps, and how a split is measured. The loop knows no more of it. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session } from '../../backends/backend.ts'
import { packBatch } from '../data/pack.ts'
import type { Sample } from '../data/samples.ts'
import { issue, type Issue } from '../issue.ts'
import type { Shapes } from '../models/llama.ts'
import type { Plan } from '../plan/plan.ts'
import { evaluateSamples, type Blame } from './evaluate.ts'
import { labelTask } from './label-task.ts'
import type { Measured } from './measured.ts'

/** One micro-step. */
export interface Micro {
  readonly inputs: Feeds
  /** For dropout: a number for each place, the same however a batch is cut. */
  readonly keys: Int32Array
  /** For noise: tokens of the sample at each place. */
  readonly lengths: Float32Array
  /** Indices into the samples of the step. */
  readonly samples: ReadonlyArray<number>
}

/** An optimizer step's samples as micro-steps whose losses and gradients add up to those of the whole. */
export interface Fed {
  readonly micros: ReadonlyArray<Micro>
  /** What the step's loss is the mean over: scored tokens, or samples. */
  readonly scored: number
  /** Of samples, padding apart. */
  readonly tokens: number
  /** Of the step's samples, beside the loss, from what each micro-step returned. */
  readonly metrics?: (outs: ReadonlyArray<Feeds>) => Readonly<Record<string, number>>
}

export interface Task {
  readonly feed: (samples: ReadonlyArray<Sample>) => TE.TaskEither<Issue, Fed>
  /** With `blame` a loss that is not finite is Left; else it is counted, for a run may recover from it. */
  readonly measure: (
    session: Session,
    samples: ReadonlyArray<Sample>,
    blame?: Blame,
  ) => TE.TaskEither<Issue, Measured>
}

type Grid = Pick<Shapes, 'rows' | 'length'>

const feedTexts =
  (grid: Grid): Task['feed'] =>
  (samples) =>
    pipe(
      TE.fromEither(packBatch(samples, grid)),
      TE.chainEitherK((batches): E.Either<Issue, Fed> => {
        const scored = batches.reduce((n, b) => n + b.scored, 0)
        return scored === 0
          ? E.left(issue('the samples of a step have no scored token'))
          : E.right({
              scored,
              tokens: batches.reduce((n, b) => n + b.tokensUsed, 0),
              micros: batches.map(
                ({ tokens, positions, segments, targets, lengths, keys, samples: of }) => ({
                  inputs: {
                    tokens,
                    positions,
                    segments,
                    targets,
                    inverse_count: Float32Array.of(1 / scored),
                  },
                  keys,
                  lengths,
                  samples: of,
                }),
              ),
            })
      }),
    )

/** Learns to write answers. */
export const textTask = (grid: Grid): Task => ({
  feed: feedTexts(grid),
  measure: (session, samples, blame) => evaluateSamples(session, grid, samples, blame),
})

/** `embeddings`: one vector a row of the table, where a frozen encoder has read them. */
export const taskOf = (
  { shapes, base, data }: Pick<Plan, 'shapes' | 'base' | 'data'>,
  embeddings?: ReadonlyMap<number, Float32Array>,
): Task =>
  base.labels === undefined
    ? textTask(shapes)
    : labelTask({
        labels: base.labels,
        targets: data?.targets ?? [],
        shapes,
        ...(embeddings === undefined ? {} : { embeddings }),
      })
