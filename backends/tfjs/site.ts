/** One equation as a kernel sees it, and the two ways kernels treat 16-bit values. */
import type * as t from 'io-ts'
import type { ops, OpName } from '../../ir/ops/index.ts'
import { isEncoded, type Part, type Plain, type TensorType } from '../../ir/type.ts'
import { dtypeOf, type Nodes, type Value } from './nodes.ts'
import { DT } from './tf.ts'

export type Parts = Readonly<Partial<Record<Part['name'], Value>>>

export interface Site<A> {
  readonly n: Nodes
  readonly attrs: A
  /** An encoded operand has its parts instead. */
  readonly args: ReadonlyArray<Value>
  readonly parts: ReadonlyArray<Parts>
  readonly types: ReadonlyArray<TensorType>
  readonly outs: ReadonlyArray<TensorType>
}

type AttrsOf<K extends OpName> = t.TypeOf<(typeof ops)[K]['attrs']>
export type Kernel<A> = (s: Site<A>) => ReadonlyArray<Value>
export type KernelOf<K extends OpName> = Kernel<AttrsOf<K>>

const isNarrow = (v: Value): boolean => v.dtype === DT.f16 || v.dtype === DT.bf16

/** Computes in f32 and rounds once to the result's dtype, as the definition does. */
export const wide =
  <A>(kernel: Kernel<A>): Kernel<A> =>
  (s) => {
    const args = s.args.map((a, i) =>
      !isEncoded(s.types[i]!.dtype) && isNarrow(a) ? s.n.cast(a, DT.f32) : a,
    )
    return kernel({ ...s, args }).map((v, i) => s.n.cast(v, dtypeOf[s.outs[i]!.dtype as Plain]))
  }
