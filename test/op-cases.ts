/** One op at a time: equations, examples as tensors, typing by name. */
import * as E from 'fp-ts/lib/Either.js'
import { evaluateEqn } from '../ir/evaluate.ts'
import type { Attrs, Eqn } from '../ir/graph.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { opOf, type OpName } from '../ir/ops/index.ts'
import { isEncoded, parseType, type Plain, type TensorType, type Typing } from '../ir/type.ts'

export const typeOf = (text: string): TensorType => {
  const t = parseType(text)
  if (E.isLeft(t)) throw new Error(t.left)
  return t.right
}
export const tensorOf = ([text, data]: readonly [string, ReadonlyArray<number>]): Tensor => {
  const type = typeOf(text)
  return isEncoded(type.dtype)
    ? { type, data: Uint8Array.from(data) }
    : { type, data: Float64Array.from(data, round[type.dtype as Plain]) }
}
export const equation = (op: OpName, attrs: Attrs, types: ReadonlyArray<TensorType>): Eqn => ({
  outs: types.map((_, i) => i),
  op,
  args: [],
  attrs,
  types,
  place: { scope: '', stage: 'forward' },
})
export const infer = (name: OpName, attrs: unknown, args: ReadonlyArray<TensorType>): Typing =>
  opOf(name).infer(attrs, args)

/** A tensor of plain data. */
export const t = (type: TensorType, data: ArrayLike<number>): Tensor => ({
  type,
  data: Float64Array.from(data),
})
/** One op in f64. */
export const apply = (
  op: OpName,
  attrs: Attrs,
  ...args: ReadonlyArray<Tensor>
): ReadonlyArray<Tensor> => {
  const typed = infer(
    op,
    attrs,
    args.map((a) => a.type),
  )
  if (typed._tag === 'Left') throw new Error(`${op}: ${typed.left}`)
  return evaluateEqn(equation(op, attrs, typed.right), args, 'real')
}
