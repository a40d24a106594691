/** All products of a session: a plan for each shape, with the algorithm that an earlier run or a measurement chose. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { BlasLt, Workspace } from './blaslt.ts'
import type { Choice, ChoiceStore } from './choices.ts'
import type { Driver } from './driver.ts'
import { type Cuda, type CudaError, done, each, ending, inOrder, isFatal } from './error.ts'
import { capture, destroyGraph, type Graph, replay } from './graph.ts'
import { accepts, type Algorithm, destroyPlan, makePlan, multiply, type Plan } from './plan.ts'
import { flopsOf, keyOf, type Product } from './product.ts'
import { times } from './timing.ts'

export interface Products {
  /** The plan of a product, made at its first use; null where cuBLASLt has no algorithm for it. */
  readonly plan: (p: Product) => Cuda<Plan | null>
  /** Chooses the fastest algorithm, measured at the product's own addresses, whose D is overwritten; a stored choice is taken unmeasured. */
  readonly tune: (p: Product) => Cuda<Plan | null>
  readonly multiply: (plan: Plan, p: Product) => Cuda<void>
  readonly count: () => number
  readonly close: () => Cuda<void>
}

const WARM = 1
const ROUNDS = 3
/** A rate to reckon with, for how often to repeat a product within a measurement. */
const FLOPS_A_MS = 5e11

/** So many products that they last about a millisecond. */
const repeats = (p: Product): number =>
  Math.min(100, Math.max(4, Math.ceil(FLOPS_A_MS / flopsOf(p))))

export const openProducts = (
  d: Driver,
  stream: bigint,
  lt: BlasLt,
  workspace: Workspace,
  choices: ChoiceStore,
): Products => {
  const plans = new Map<string, Plan | null>()
  const run = (plan: Plan, p: Product, a: Algorithm) => () =>
    multiply(lt, stream, plan, p, workspace, a)

  const planned = (p: Product): Cuda<Plan | null> => {
    const key = keyOf(p)
    const known = plans.get(key)
    if (known !== undefined) return E.right(known)
    return pipe(
      makePlan(lt, p, workspace),
      E.map((plan) => {
        const stored = choices.get(key)
        if (plan !== null && stored !== null && accepts(lt, plan, stored.algorithm, workspace))
          plan.algorithm = stored.algorithm
        plans.set(key, plan)
        return plan
      }),
    )
  }

  /** One product after the other in a graph, so that the device and not the calls are timed; null where the algorithm cannot run. */
  const captured = (plan: Plan, p: Product, a: Algorithm): Cuda<Graph | null> =>
    pipe(
      // Once outside: what the library loads at a first run must not be loaded in a capture.
      inOrder([run(plan, p, a), () => d.call('cuStreamSynchronize', stream)]),
      E.chain(() =>
        capture(d, stream, () =>
          inOrder(Array.from({ length: repeats(p) }, () => run(plan, p, a))),
        ),
      ),
      E.orElse((e: CudaError): Cuda<Graph | null> => (isFatal(e) ? E.left(e) : E.right(null))),
    )

  /** Rounds over all candidates, so that a clock that is still rising favours none; the best time of each counts. */
  const race = (
    p: Product,
    entries: ReadonlyArray<readonly [Algorithm, Graph]>,
  ): Cuda<Choice | null> => {
    const laps = Array.from({ length: WARM + ROUNDS }, () =>
      entries.map(
        ([, g]) =>
          () =>
            replay(d, stream, g),
      ),
    ).flat()
    return pipe(
      times(d, stream, laps),
      E.map((ms) => {
        const counted = ms.slice(WARM * entries.length)
        const best = entries.map((_, i) =>
          Math.min(...counted.filter((__, x) => x % entries.length === i)),
        )
        const least = Math.min(...best)
        const winner = entries[best.indexOf(least)]
        return winner === undefined
          ? null
          : { algorithm: winner[0], us: (least * 1000) / repeats(p) }
      }),
    )
  }

  const fastest = (plan: Plan, p: Product): Cuda<Choice | null> => {
    const graphs: Array<readonly [Algorithm, Graph]> = []
    return ending(
      pipe(
        inOrder(
          plan.candidates.map(
            (a) => () =>
              pipe(
                captured(plan, p, a),
                E.map((g) => {
                  if (g !== null) graphs.push([a, g])
                }),
              ),
          ),
        ),
        E.chain(() => race(p, graphs)),
      ),
      () => each(graphs, ([, g]) => destroyGraph(d, g)),
    )
  }

  const tune = (p: Product): Cuda<Plan | null> =>
    pipe(
      planned(p),
      E.chain((plan): Cuda<Plan | null> => {
        if (plan === null) return E.right(null)
        const stored = choices.get(plan.key)
        if (stored !== null && stored.algorithm.equals(plan.algorithm)) return E.right(plan)
        return pipe(
          fastest(plan, p),
          E.map((choice) => {
            if (choice !== null) {
              const kept = choices.put(plan.key, choice, stored)
              plan.algorithm = accepts(lt, plan, kept.algorithm, workspace)
                ? kept.algorithm
                : choice.algorithm
            }
            return plan
          }),
        )
      }),
    )

  return {
    plan: planned,
    tune,
    multiply: (plan, p) => multiply(lt, stream, plan, p, workspace),
    count: () => [...plans.values()].filter((p) => p !== null).length,
    close: () => {
      const all = [...plans.values()].filter((p) => p !== null)
      plans.clear()
      return all.length === 0 ? done : inOrder(all.map((p) => () => destroyPlan(lt, p)))
    },
  }
}
