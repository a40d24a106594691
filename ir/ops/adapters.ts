/** What adapters need of a weight that they change. */
import * as t from 'io-ts'
import { dim, op, values, type Op } from '../op.ts'
import { fail, isFloat, ok, show, tensor } from '../type.ts'

export const adaptedNorms: Op<{ by: number }> = op({
  doc: 'The length of each row of W + by·B·A, which gradients take for a constant (DoRA, Liu et al. 2024, section 4.3).',
  arity: 3,
  attrs: t.strict({ by: t.number }),
  infer: (_, [w, a, b]) => {
    const all = [w, a, b]
    const fits =
      all.every((x) => x !== undefined && x.shape.length === 2 && x.dtype === w!.dtype) &&
      isFloat(w!.dtype) &&
      a!.shape[1] === w!.shape[1] &&
      b!.shape[0] === w!.shape[0] &&
      a!.shape[0] === b!.shape[1]
    return fits
      ? ok(tensor(w!.dtype, w!.shape[0]!))
      : fail(
          `adaptedNorms takes W [out, in], A [r, in] and B [out, r], got ${all.map((x) => (x ? show(x) : '?')).join(', ')}`,
        )
  },
  evaluate: ({ by }, args) => {
    const [w, a, b] = [values(args, 0), values(args, 1), values(args, 2)]
    const [out, into, r] = [dim(args, 0, 0), dim(args, 0, 1), dim(args, 1, 0)]
    return [
      Float64Array.from({ length: out }, (_, o) => {
        let squares = 0
        for (let c = 0; c < into; c++) {
          let low = 0
          for (let k = 0; k < r; k++) low += b[o * r + k]! * a[k * into + c]!
          squares += (w[o * into + c]! + by * low) ** 2
        }
        return Math.sqrt(squares)
      }),
    ]
  },
  vjp: null,
  constant: true,
  flops: (_, [w, a]) => (3 + 2 * a!.shape[0]!) * w!.shape[0]! * w!.shape[1]!,
  examples: [
    {
      attrs: { by: 2 },
      args: [
        ['f32[2, 2]', [1, 0, 3, 4]],
        ['f32[1, 2]', [1, 2]],
        ['f32[2, 1]', [1, 0]],
      ],
      outs: [['f32[2]', [5, 5]]],
    },
  ],
})
