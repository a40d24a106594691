/** One optimizer step: micro-steps that add up gradients, then one update. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Feeds, Session } from '../../backends/backend.ts'
import { decode } from '../../backends/bytes.ts'
import { scalar } from '../../ir/type.ts'
import { SCALE } from '../../passes/precision.ts'
import type { Sample } from '../data/samples.ts'
import type { Issue } from '../issue.ts'
import { call } from './problem.ts'
import type { Micro, Task } from './task.ts'

export interface StepInput {
  readonly samples: ReadonlyArray<Sample>
  readonly feed: Task['feed']
  readonly lr: number
  /** Adam's t: steps that were applied, this one included. */
  readonly t: number
  /** What draws are made from, the same for all micro-steps. */
  readonly seed: number
  /** Inputs of a micro-step: of what is known of a batch, a program takes what it needs. */
  readonly takes: ReadonlySet<string>
  /** The issue of a number that is not finite, found in these samples. */
  readonly blame: (what: string, value: number, samples: ReadonlyArray<Sample>) => Issue
}

export interface Stepped {
  /** Mean over scored tokens or samples. */
  readonly loss: number
  readonly gradNorm: number
  /** False when loss scaling found an overflow and left the weights as they were. */
  readonly applied: boolean
  readonly scored: number
  readonly tokens: number
  /** Of the step's samples, beside the loss. */
  readonly metrics: Readonly<Record<string, number>>
}

/** Below this the scale can no longer be why gradients overflow. */
const LEAST_SCALE = 2 ** -14

const lossOf = (outs: Feeds): number => outs['loss']![0]!

const taken = (names: ReadonlySet<string>, all: Feeds): Feeds =>
  Object.fromEntries(Object.entries(all).filter(([name]) => names.has(name)))

const micro =
  (session: Session, o: StepInput) =>
  ({ inputs, keys, lengths, samples }: Micro): TE.TaskEither<Issue, Feeds> =>
    pipe(
      session.run(
        'micro',
        taken(o.takes, { ...inputs, seed: Int32Array.of(o.seed), keys, lengths }),
      ),
      call,
      TE.filterOrElse(
        (outs) => Number.isFinite(lossOf(outs)),
        (outs) =>
          o.blame(
            'loss',
            lossOf(outs),
            samples.map((s) => o.samples[s]!),
          ),
      ),
    )

/** An f16 overflow is normal while the loss scale is being found, and never once it is tiny. */
const skipped = (session: Session, o: StepInput, norm: number): TE.TaskEither<Issue, void> =>
  pipe(
    call(session.read(SCALE)),
    TE.map((bytes) => decode(scalar('f32'), bytes)[0]!),
    TE.chain((scale) =>
      scale < LEAST_SCALE
        ? TE.left({
            ...o.blame('gradient norm', norm, o.samples),
            hint: 'its gradients overflow float16 at every loss scale: use bfloat16 or float32',
          })
        : TE.right(undefined),
    ),
  )

const update = (
  session: Session,
  o: StepInput,
): TE.TaskEither<Issue, Pick<Stepped, 'gradNorm' | 'applied'>> =>
  pipe(
    session.run('update', { lr: Float32Array.of(o.lr), step: Float32Array.of(o.t) }),
    call,
    TE.chain((outs) => {
      const gradNorm = outs['grad_norm']![0]!
      const applied = (outs['finite']?.[0] ?? 1) !== 0
      if (!applied) return TE.map(() => ({ gradNorm, applied }))(skipped(session, o, gradNorm))
      return Number.isFinite(gradNorm)
        ? TE.right({ gradNorm, applied })
        : TE.left(o.blame('gradient norm', gradNorm, o.samples))
    }),
  )

/** Left: a backend's error, or a number that is not finite; the session's state is then of no use. */
export const optimizerStep = (session: Session, o: StepInput): TE.TaskEither<Issue, Stepped> =>
  pipe(
    o.feed(o.samples),
    TE.chain(({ micros, scored, tokens, metrics }) =>
      pipe(
        micros,
        TE.traverseSeqArray(micro(session, o)),
        TE.chain((outs) =>
          pipe(
            update(session, o),
            TE.map((updated) => ({
              ...updated,
              loss: outs.reduce((n, x) => n + lossOf(x), 0),
              metrics: metrics?.(outs) ?? {},
              scored,
              tokens,
            })),
          ),
        ),
      ),
    ),
  )
