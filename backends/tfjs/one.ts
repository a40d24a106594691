/** One op of the program's vocabulary on tf.Tensors. */
import * as E from 'fp-ts/lib/Either.js'
import { opOf, type OpName } from '../../ir/ops/index.ts'
import { tensor, type TensorType } from '../../ir/type.ts'
import { readCell, type Cell } from './cells.ts'
import { kernels } from './kernels.ts'
import type { Host } from './load.ts'
import { constantsOf, nodesOf, type Value } from './nodes.ts'
import type { Kernel, Parts } from './site.ts'
import { DT, type Tensor } from './tf.ts'

/** A tensor, or the encoded weight that a cell holds. */
export type Operand = Tensor | Cell

export const isCell = (x: Operand): x is Cell => 'held' in x

const dtypes: Readonly<Record<string, 'f32' | 'i32'>> = { float32: 'f32', int32: 'i32' }

export const typeOf = (x: Operand): TensorType => {
  if (isCell(x)) return x.state.type
  const dtype = dtypes[x.dtype]
  if (dtype === undefined) throw new TypeError(`tensors of ${x.dtype} are not taken here`)
  return tensor(dtype, ...x.shape)
}

/** Throws where the operands do not fit, as tfjs's own functions do. The caller disposes of the results, or tf.tidy does. */
export type RunOp = (
  op: OpName,
  attrs: object,
  operands: ReadonlyArray<Operand>,
) => ReadonlyArray<Tensor>

/** By TensorFlow's own ops. */
export const onCpu =
  (host: Host): RunOp =>
  (op, attrs, operands) => {
    const types = operands.map(typeOf)
    const outs = opOf(op).infer(attrs, types)
    if (E.isLeft(outs)) throw new TypeError(outs.left)
    const { backend } = host
    const constants = constantsOf(backend.binding)
    const n = nodesOf(backend.binding, constants)
    let results: ReadonlyArray<Value> = []
    try {
      const read = operands.map((x): { readonly value: Value | null; readonly parts: Parts } =>
        isCell(x)
          ? readCell(host, n, x)
          : {
              value: {
                id: backend.getInputTensorIds([x])[0]!,
                dtype: x.dtype === 'int32' ? DT.i32 : DT.f32,
                shape: x.shape,
              },
              parts: {},
            },
      )
      const made = (kernels[op] as Kernel<never>)({
        n,
        attrs: attrs as never,
        args: read.map((r) => r.value as Value),
        parts: read.map((r) => r.parts),
        types,
        outs: outs.right,
      })
      results = made.map((v) => (n.fresh(v) ? v : n.same(v)))
    } finally {
      n.release(results)
      constants.close()
    }
    return results.map((v) => backend.createOutputTensor(v))
  }
