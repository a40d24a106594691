/** All products of a session: a plan for each shape, with the algorithm that an earlier run or a measurement chose. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import type { BlasLt, Workspace } from './blaslt.ts'
import type { Choice, ChoiceStore } from './choices.ts'
import type { Driver } from './driver.ts'
import { type Cuda, type CudaError, done, inOrder, isFatal } from './error.ts'
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

/** cuBLASLt's later proposals were never the best of 24. */
const TIMED = 8
const ROUNDS = 3
/** A rate to reckon with, for how often to repeat a product within a measurement. */
const FLOPS_A_MS = 5e11

const repeats = (p: Product, ms: number, least: number): number =>
  Math.min(100, Math.max(least, Math.ceil((ms * FLOPS_A_MS) / flopsOf(p))))

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

  const repeated = (f: () => Cuda<void>, n: number) => () =>
    inOrder(Array.from({ length: n }, () => f))

  /** Milliseconds of one product; null where this algorithm cannot run. */
  const measured = (plan: Plan, p: Product, a: Algorithm, n: number): Cuda<number | null> =>
    pipe(
      times(d, stream, [repeated(run(plan, p, a), n)]),
      E.map(([ms]): number | null => ms! / n),
      E.orElse((e: CudaError): Cuda<number | null> => (isFatal(e) ? E.left(e) : E.right(null))),
    )

  /** Rounds over all candidates, so that a clock that is still rising favours none; the best time of each counts. */
  const fastest = (plan: Plan, p: Product): Cuda<Choice | null> => {
    const candidates = plan.candidates.slice(0, TIMED)
    const best = candidates.map(() => Infinity)
    const warm = measured(plan, p, candidates[0]!, repeats(p, 5, 4))
    if (E.isLeft(warm)) return warm
    for (let round = 0; round < ROUNDS; round++)
      for (const [i, a] of candidates.entries()) {
        const ms = measured(plan, p, a, repeats(p, 1, 8))
        if (E.isLeft(ms)) return ms
        best[i] = Math.min(best[i]!, ms.right ?? Infinity)
      }
    const ms = Math.min(...best)
    return E.right(
      ms === Infinity ? null : { algorithm: candidates[best.indexOf(ms)]!, us: ms * 1000 },
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
