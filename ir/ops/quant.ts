/** Encoded weights back to floats. */
import * as t from 'io-ts'
import { dequantize as decode } from '../nf4.ts'
import { op, type Op } from '../op.ts'
import { fail, isEncoded, isFloat, like, ok, show, size, type DType } from '../type.ts'

export const dequantize: Op<{ to: string }> = op({
  doc: 'An NF4 tensor as floats: codebook value × block scale in f32, rounded once to `to`.',
  arity: 1,
  attrs: t.strict({ to: t.string }),
  infer: ({ to }, [w]) =>
    w !== undefined && isEncoded(w.dtype) && isFloat(to as DType)
      ? ok(like(w, to as DType))
      : fail(`dequantize takes an encoded tensor, got ${w === undefined ? 'nothing' : show(w)}`),
  evaluate: (_, args) => [Float64Array.from(decode(args[0]!.type, Uint8Array.from(args[0]!.data)))],
  vjp: () => [null],
  flops: (_, [w]) => size(w!),
  examples: [
    {
      attrs: { to: 'f32' },
      // Codes 15 and 0 with scale 2 (f32, little-endian).
      args: [['nf4/64[2]', [0xf0, 0, 0, 0, 0, 0, 0, 0x40]]],
      outs: [['f32[2]', [2, -2]]],
    },
  ],
})
