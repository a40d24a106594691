/** Encoded weights back to floats. */
import * as t from 'io-ts'
import { dequantize as decode } from '../encoding.ts'
import { op, type Op } from '../op.ts'
import { fail, isEncoded, isFloat, like, ok, show, size, type DType } from '../type.ts'

export const dequantize: Op<{ to: string }> = op({
  doc: 'An encoded tensor as floats, rounded once to `to`. NF4: codebook value × scale of the block, in f32; int8: code × scale of the row / 127, in f32.',
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
    {
      attrs: { to: 'f32' },
      // Codes 127 and −127 with scale 2, then 0 and 127 with scale 1.
      args: [['int8[2, 2]', [127, 129, 0, 127, 0, 0, 0, 0x40, 0, 0, 0x80, 0x3f]]],
      outs: [['f32[2, 2]', [2, -2, 0, 1]]],
    },
  ],
})
