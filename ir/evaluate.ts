/** The definition of what a program means: each op's own evaluator, one equation after another. */
import type { Eqn, Fn, Id } from './graph.ts'
import { round } from './number.ts'
import { opOf } from './ops/index.ts'
import type { Tensor } from './op.ts'
import { isEncoded, isFloat, type Plain } from './type.ts'

/** `typed` rounds every result to its dtype; `real` keeps floats in f64, for checking derivatives. */
export type Arithmetic = 'typed' | 'real'

export const evaluateEqn = (
  e: Eqn,
  args: ReadonlyArray<Tensor>,
  arithmetic: Arithmetic,
): ReadonlyArray<Tensor> =>
  opOf(e.op)
    .evaluate(e.attrs, args, e.types)
    .map((data, i) => {
      const type = e.types[i]!
      const exact = arithmetic === 'real' && isFloat(type.dtype)
      return {
        type,
        data: exact || isEncoded(type.dtype) ? data : data.map(round[type.dtype as Plain]),
      }
    })

/** Values of every id of a function, given those of its inputs and of the state it reads. */
export const evaluateFn = (
  f: Fn,
  given: ReadonlyMap<Id, Tensor>,
  arithmetic: Arithmetic = 'typed',
): ReadonlyMap<Id, Tensor> => {
  const env = new Map(given)
  for (const e of f.eqns) {
    const results = evaluateEqn(
      e,
      e.args.map((a) => env.get(a)!),
      arithmetic,
    )
    e.outs.forEach((o, i) => env.set(o, results[i]!))
  }
  return env
}
