/** Rotary position embedding (Su et al. 2021), in the half-split layout of Hugging Face checkpoints. */
import * as t from 'io-ts'
import type { Rope } from '../algebra.ts'
import { inverseFrequencies } from '../frequencies.ts'
import { dim, op, values, type Op } from '../op.ts'
import { equals, fail, isFloat, ok, show, size, tensor } from '../type.ts'
import { flag } from '../typing.ts'

const ropeAttrs = t.strict({
  dim: t.number,
  theta: t.number,
  factor: t.number,
  lowFreqFactor: t.number,
  highFreqFactor: t.number,
  originalContext: t.number,
})

export const ropeTable: Op<Rope> = op({
  doc: 'Cosines and sines of position × inverse frequency: i32[R, T] to two f32[R·T, dim/2].',
  arity: 1,
  attrs: ropeAttrs,
  infer: (a, [positions]) =>
    positions === undefined || positions.dtype !== 'i32' || positions.shape.length !== 2
      ? fail('ropeTable takes i32 positions [R, T]')
      : a.dim % 2 !== 0
        ? fail(`ropeTable needs an even head dimension, got ${a.dim}`)
        : ok(tensor('f32', size(positions), a.dim / 2), tensor('f32', size(positions), a.dim / 2)),
  evaluate: (a, args, [out]) => {
    const f = inverseFrequencies(a)
    const p = values(args, 0)
    const angle = new Float64Array(size(out!)).map(
      (_, i) => p[Math.floor(i / f.length)]! * f[i % f.length]!,
    )
    return [angle.map(Math.cos), angle.map(Math.sin)]
  },
  vjp: () => [null],
  flops: (_, __, [out]) => 4 * size(out!),
  examples: [
    {
      attrs: {
        dim: 2,
        theta: 10000,
        factor: 1,
        lowFreqFactor: 0,
        highFreqFactor: 0,
        originalContext: 0,
      },
      args: [['i32[1, 1]', [0]]],
      outs: [
        ['f32[1, 1]', [1]],
        ['f32[1, 1]', [0]],
      ],
    },
  ],
})

export const rope: Op<{ inverse: boolean }> = op({
  doc: 'Rotates each head by its position: halves (a, b) become (a·cos − b·sin, b·cos + a·sin); `inverse` turns back.',
  arity: 3,
  attrs: t.strict({ inverse: flag }),
  infer: (_, [x, cos, sin]) =>
    x === undefined ||
    cos === undefined ||
    sin === undefined ||
    !isFloat(x.dtype) ||
    x.shape.length !== 2 ||
    cos.shape.length !== 2
      ? fail('rope takes a float matrix and two tables')
      : cos.dtype !== 'f32' || !equals(cos, sin) || cos.shape[0] !== x.shape[0]
        ? fail(`rope: tables ${show(cos)} and ${show(sin)} for ${show(x)}`)
        : x.shape[1]! % (2 * cos.shape[1]!) !== 0
          ? fail(`rope: ${show(x)} is not whole heads of ${2 * cos.shape[1]!}`)
          : ok(x),
  evaluate: ({ inverse }, args) => {
    const [x, cos, sin] = [values(args, 0), values(args, 1), values(args, 2)]
    const [width, half] = [dim(args, 0, 1), dim(args, 1, 1)]
    return [
      x.map((v, i) => {
        const [row, j] = [Math.floor(i / width), i % (2 * half)]
        const at = row * half + (j % half)
        const s = inverse ? -sin[at]! : sin[at]!
        return j < half ? v * cos[at]! - x[i + half]! * s : v * cos[at]! + x[i - half]! * s
      }),
    ]
  },
  vjp: ({ alg, attrs, args: [, cos, sin], cts: [ct] }) => [
    () => alg.rope(!attrs.inverse, ct!, cos!, sin!),
    null,
    null,
  ],
  flops: (_, [x]) => 3 * size(x!),
  examples: [
    {
      attrs: { inverse: false },
      args: [
        ['f32[1, 2]', [1, 2]],
        ['f32[1, 1]', [0]],
        ['f32[1, 1]', [1]],
      ],
      outs: [['f32[1, 2]', [-2, 1]]],
    },
  ],
})
