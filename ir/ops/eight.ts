/** State in 8 bits: what optimizers keep, encoded after a step and decoded before the next. */
import * as t from 'io-ts'
import { BLOCK, decode, encode } from '../eight.ts'
import { op, values, type Op } from '../op.ts'
import { equals, fail, like, ok, show, size, tensor, type TensorType } from '../type.ts'
import { flag } from '../typing.ts'

export interface Map8 {
  /** Values are never below zero: the map that has no negative ones is twice as fine. */
  readonly unsigned: boolean
}
const attrs: t.Type<Map8> = t.strict({ unsigned: flag })

const scalesOf = (a: TensorType): TensorType => tensor('f32', Math.ceil(size(a) / BLOCK))

export const encode8: Op<Map8> = op({
  doc: 'Codes of the 8-bit dynamic map and the largest magnitude of each 256 values, which the map is relative to; nearest code, and none that loses a sign.',
  arity: 1,
  attrs,
  infer: (_, [x]) =>
    x !== undefined && x.dtype === 'f32'
      ? ok(like(x, 'u8'), scalesOf(x))
      : fail(`encode8 takes f32, got ${x === undefined ? 'nothing' : show(x)}`),
  evaluate: ({ unsigned }, args) => {
    const { codes, scales } = encode(unsigned, values(args, 0))
    return [codes, scales]
  },
  vjp: null,
  flops: (_, [x]) => 10 * size(x!),
  examples: [
    {
      attrs: { unsigned: false },
      args: [['f32[4]', [2, 0, -2, -1e-9]]],
      outs: [
        ['u8[4]', [255, 127, 0, 126]],
        ['f32[1]', [2]],
      ],
    },
    {
      attrs: { unsigned: true },
      args: [['f32[3]', [0.5, 0, 0.25]]],
      outs: [
        ['u8[3]', [255, 0, 183]],
        ['f32[1]', [0.5]],
      ],
    },
  ],
})

export const decode8: Op<Map8> = op({
  doc: 'Values of 8-bit codes: entries of the dynamic map times the scale of their 256.',
  arity: 2,
  attrs,
  infer: (_, [codes, scales]) =>
    codes !== undefined &&
    scales !== undefined &&
    codes.dtype === 'u8' &&
    equals(scales, scalesOf(codes))
      ? ok(like(codes, 'f32'))
      : fail(
          `decode8 takes codes u8 and a scale f32 for each ${BLOCK}, got ${[codes, scales].flatMap((x) => (x === undefined ? [] : [show(x)])).join(' and ')}`,
        ),
  evaluate: ({ unsigned }, args) => [
    decode(unsigned, { codes: values(args, 0), scales: values(args, 1) }),
  ],
  vjp: null,
  flops: (_, [codes]) => size(codes!),
  examples: [
    {
      attrs: { unsigned: false },
      args: [
        ['u8[3]', [255, 127, 255]],
        ['f32[1]', [2]],
      ],
      outs: [['f32[3]', [2, 0, 2]]],
    },
  ],
})
