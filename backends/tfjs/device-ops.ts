/** Ops of the program's vocabulary on a GPU: each is a plan of one equation for its shapes, compiled when it is first asked for. */
import * as E from 'fp-ts/lib/Either.js'
import { pipe } from 'fp-ts/lib/function.js'
import { schedule } from '../../passes/index.ts'
import { compile } from '../../passes/pass.ts'
import { builder, building } from '../../ir/build.ts'
import type { Attrs, Program } from '../../ir/graph.ts'
import type { OpName } from '../../ir/ops/index.ts'
import { showReason } from '../../ir/reason.ts'
import { show } from '../../ir/type.ts'
import type { Cuda } from '../cuda/driver/error.ts'
import type { Cell } from './cells.ts'
import type { Host } from './load.ts'
import { isCell, typeOf, type Operand, type RunOp } from './one.ts'
import { callInside, type Inside } from './tensors.ts'
import type { Tensor } from './tf.ts'

const stateName = (i: number): string => `w${i}`

/** One equation: tensors are inputs, encoded weights are state. Throws where the operands do not fit. */
const programOf = (op: OpName, attrs: Attrs, operands: ReadonlyArray<Operand>): Program => {
  const state = operands.flatMap((x, i) => (isCell(x) ? [{ ...x.state, name: stateName(i) }] : []))
  const fn = building(() => {
    const b = builder()
    const ids = operands.map((x, i) =>
      isCell(x) ? b.read(state.find((s) => s.name === stateName(i))!) : b.input(`x${i}`, typeOf(x)),
    )
    const outs = b.emit(op, attrs, ...ids)
    return b.done({ name: op, outs: outs.map((id, i) => ({ name: `y${i}`, id })), updates: [] })
  })
  if (E.isLeft(fn)) throw new TypeError(showReason(fn.left))
  const made = compile([schedule])({ name: op, state, fns: [fn.right] })
  if (E.isLeft(made)) throw new Error(`${op} cannot be compiled`)
  return made.right.program
}

/** The compiled plans stay, one for each op, attributes and shapes, until they are given back. */
export const onDevice = (
  host: Host,
  compiled: (p: Program) => Cuda<Inside>,
): { readonly run: RunOp; readonly close: () => void } => {
  const known = new Map<string, Inside>()
  const insideOf = (op: OpName, attrs: object, operands: ReadonlyArray<Operand>): Cuda<Inside> => {
    const key = JSON.stringify([op, attrs, operands.map((x) => show(typeOf(x)))])
    const old = known.get(key)
    if (old !== undefined) return E.right(old)
    return pipe(
      compiled(programOf(op, attrs as Attrs, operands)),
      E.map((made) => {
        known.set(key, made)
        return made
      }),
    )
  }
  return {
    run: (op, attrs, operands) => {
      const named = <T extends Operand>(is: (x: Operand) => x is T, name: (i: number) => string) =>
        Object.fromEntries(operands.flatMap((x, i) => (is(x) ? [[name(i), x] as const] : [])))
      const inputs = named(
        (x): x is Tensor => !isCell(x),
        (i) => `x${i}`,
      )
      const state = named((x): x is Cell => isCell(x), stateName)
      const results = pipe(
        insideOf(op, attrs, operands),
        E.chain((inside) => callInside(host, inside, op, inputs, { state })),
      )
      if (E.isLeft(results)) throw new Error(`${op}: ${results.left.message}`)
      return Object.values(results.right)
    },
    close: () => {
      for (const { session } of known.values()) session.device.gpu.close()
      known.clear()
    },
  }
}
