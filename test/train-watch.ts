/** Watching runs of the tiny job: their events, and a reference whose results are changed on their way back. */
import { pipe } from 'fp-ts/lib/function.js'
import * as TE from 'fp-ts/lib/TaskEither.js'
import type { Backend, Session } from '../backends/backend.ts'
import { reference } from '../backends/reference/index.ts'
import type { Plan } from '../src/plan/plan.ts'
import type { TrainEvent } from '../src/train/events.ts'
import { train } from '../src/train/train.ts'
import { right } from './right.ts'
import { quiet } from './train-job.ts'

type Of<T extends TrainEvent['_tag']> = Extract<TrainEvent, { readonly _tag: T }>
export const only = <T extends TrainEvent['_tag']>(
  events: ReadonlyArray<TrainEvent>,
  tag: T,
): ReadonlyArray<Of<T>> => events.filter((e): e is Of<T> => e._tag === tag)

export const run = async (plan: Plan, folder: string, stop: () => boolean = () => false) => {
  const { events, options } = quiet(folder, { stop })
  return { events, result: right(await train(plan, reference, options)()) }
}

type Outs = Readonly<Record<string, Float32Array | Int32Array>>

/** The reference with the results of its functions changed on their way back; `n` counts a function's calls from 1. */
export const tampered = (
  change: (fn: string, inputs: Outs, outs: Outs, n: number) => Outs,
  watch: (session: Session) => void = () => undefined,
): Backend => ({
  ...reference,
  prepare: (p) =>
    pipe(
      reference.prepare(p),
      TE.map((s): Session => {
        watch(s)
        const calls = new Map<string, number>()
        return {
          ...s,
          run: (fn, inputs) =>
            pipe(
              s.run(fn, inputs),
              TE.map((outs) => {
                const n = (calls.get(fn) ?? 0) + 1
                calls.set(fn, n)
                return change(fn, inputs, outs, n)
              }),
            ),
        }
      }),
    ),
})
