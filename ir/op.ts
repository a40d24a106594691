/** What an op is: one record holding everything that is true of it on every backend. */
import type * as t from 'io-ts'
import type { Algebra } from './algebra.ts'
import type { TensorType, Typing } from './type.ts'

/** A value for the reference evaluator: plain dtypes as numbers, encoded ones as their bytes. */
export interface Tensor {
  readonly type: TensorType
  readonly data: Float64Array | Uint8Array
}

/** What a gradient rule sees: `cts` are the cotangents of the results, null where none flows. */
export interface Vjp<V, A> {
  readonly alg: Algebra<V>
  readonly attrs: A
  readonly args: ReadonlyArray<V>
  readonly types: ReadonlyArray<TensorType>
  readonly outs: ReadonlyArray<V>
  readonly cts: ReadonlyArray<V | null>
}

/** Cotangent of each argument, made only when asked for; null where an argument is not differentiable. */
export type Cotangents<V> = ReadonlyArray<(() => V) | null>

export interface Example<A> {
  readonly attrs: A
  /** Type and values of each argument; encoded tensors give their bytes. */
  readonly args: ReadonlyArray<readonly [type: string, data: ReadonlyArray<number>]>
  readonly outs: ReadonlyArray<readonly [type: string, data: ReadonlyArray<number>]>
}

export interface Op<A> {
  /** First sentence of the op table. */
  readonly doc: string
  readonly arity: number
  readonly attrs: t.Type<A>
  readonly infer: (attrs: A, args: ReadonlyArray<TensorType>) => Typing
  /** The meaning: exact arithmetic, rounded once to the result's dtype by the caller. */
  readonly evaluate: (
    attrs: A,
    args: ReadonlyArray<Tensor>,
    outs: ReadonlyArray<TensorType>,
  ) => ReadonlyArray<Float64Array>
  /** Vector-Jacobian product, or null where training never differentiates through the op. */
  readonly vjp: (<V>(r: Vjp<V, A>) => Cotangents<V>) | null
  /** Its results are constants to gradients, whatever they are computed from. */
  readonly constant?: true
  /** Floating-point operations, for the cost model. */
  readonly flops: (
    attrs: A,
    args: ReadonlyArray<TensorType>,
    outs: ReadonlyArray<TensorType>,
  ) => number
  /** Scratch bytes a fused kernel needs while it runs. */
  readonly workspace?: (attrs: A, args: ReadonlyArray<TensorType>) => number
  /** Result `i` may be written over argument `overwrites[i]`: each element depends on that element alone. */
  readonly overwrites?: ReadonlyArray<number>
  readonly examples: ReadonlyArray<Example<A>>
}

export const op = <A>(o: Op<A>): Op<A> => o

/** The argument of an evaluator; typing has checked that it is there. */
export const arg = (args: ReadonlyArray<Tensor>, i: number): Tensor => args[i]!
export const values = (args: ReadonlyArray<Tensor>, i: number): Float64Array =>
  args[i]!.data as Float64Array
/** Dimension of the i-th argument. */
export const dim = (args: ReadonlyArray<{ readonly type: TensorType }>, i: number, axis: number) =>
  args[i]!.type.shape[axis]!

/** For gradient ops with several results: emitted once, when the first of them is asked for. */
export const lazy = <T>(make: () => T): (() => T) => {
  let made: { readonly value: T } | undefined
  return () => (made ??= { value: make() }).value
}
