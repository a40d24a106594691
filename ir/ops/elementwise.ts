/** Element-wise ops: the result depends on one element of each operand. */
import * as t from 'io-ts'
import { op, values, type Op, type Tensor } from '../op.ts'
import {
  equals,
  fail,
  isEncoded,
  isFloat,
  isPlain,
  like,
  ok,
  scalar,
  show,
  size,
  type TensorType,
} from '../type.ts'
import { none, same, type None } from '../typing.ts'

const map =
  (f: (x: number) => number) =>
  (_: unknown, args: ReadonlyArray<Tensor>): ReadonlyArray<Float64Array> => [values(args, 0).map(f)]
const zip =
  (f: (x: number, y: number) => number) =>
  (_: unknown, args: ReadonlyArray<Tensor>): ReadonlyArray<Float64Array> => {
    const b = values(args, 1)
    return [values(args, 0).map((x, i) => f(x, b[i]!))]
  }
const each = (_: unknown, __: unknown, outs: ReadonlyArray<TensorType>): number => size(outs[0]!)
const free = (): number => 0

export const add: Op<None> = op({
  doc: 'Element-wise sum of two tensors of one type.',
  arity: 2,
  attrs: none,
  infer: same('add'),
  evaluate: zip((x, y) => x + y),
  vjp: ({ cts: [ct] }) => [() => ct!, () => ct!],
  flops: each,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [1, 2]],
        ['f32[2]', [10, 20]],
      ],
      outs: [['f32[2]', [11, 22]]],
    },
  ],
})

export const sub: Op<None> = op({
  doc: 'Element-wise difference of two tensors of one type.',
  arity: 2,
  attrs: none,
  infer: same('sub'),
  evaluate: zip((x, y) => x - y),
  vjp: ({ alg, cts: [ct] }) => [() => ct!, () => alg.scale(-1, ct!)],
  flops: each,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [1, 2]],
        ['f32[2]', [10, 20]],
      ],
      outs: [['f32[2]', [-9, -18]]],
    },
  ],
})

export const mul: Op<None> = op({
  doc: 'Element-wise product of two tensors of one type.',
  arity: 2,
  attrs: none,
  infer: same('mul'),
  evaluate: zip((x, y) => x * y),
  vjp: ({ alg, cts: [ct], args: [a, b] }) => [() => alg.mul(ct!, b!), () => alg.mul(ct!, a!)],
  flops: each,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [3, -2]],
        ['f32[2]', [5, 7]],
      ],
      outs: [['f32[2]', [15, -14]]],
    },
  ],
})

export const scale: Op<{ by: number }> = op({
  doc: 'Every element times a constant of the program.',
  arity: 1,
  attrs: t.strict({ by: t.number }),
  infer: same('scale'),
  evaluate: ({ by }, args) => map((x) => by * x)(null, args),
  vjp: ({ alg, attrs, cts: [ct] }) => [() => alg.scale(attrs.by, ct!)],
  flops: each,
  overwrites: [0],
  examples: [{ attrs: { by: 0.5 }, args: [['f32[2]', [3, -2]]], outs: [['f32[2]', [1.5, -1]]] }],
})

export const scaleBy: Op<None> = op({
  doc: 'Every element times a scalar computed at run time (f32, whatever the tensor is).',
  arity: 2,
  attrs: none,
  infer: (_, [a, s]) =>
    a === undefined || s === undefined || !isFloat(a.dtype) || !equals(s, scalar('f32'))
      ? fail('scaleBy takes a float tensor and a scalar f32[]')
      : ok(a),
  evaluate: (_, args) => map((x) => x * values(args, 1)[0]!)(null, args),
  vjp: ({ alg, cts: [ct], args: [a, s] }) => [
    () => alg.scaleBy(ct!, s!),
    () => alg.sum(alg.mul(alg.cast('f32', ct!), alg.cast('f32', a!))),
  ],
  flops: each,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [3, -2]],
        ['f32[]', [2]],
      ],
      outs: [['f32[2]', [6, -4]]],
    },
  ],
})

export const reciprocal: Op<None> = op({
  doc: 'One over each element.',
  arity: 1,
  attrs: none,
  infer: same('reciprocal'),
  evaluate: map((x) => 1 / x),
  vjp: ({ alg, cts: [ct], outs: [y] }) => [() => alg.scale(-1, alg.mul(ct!, alg.mul(y!, y!)))],
  flops: each,
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[2]', [4, -2]]], outs: [['f32[2]', [0.25, -0.5]]] }],
})

export const sqrt: Op<None> = op({
  doc: 'Square root of each element.',
  arity: 1,
  attrs: none,
  infer: same('sqrt'),
  evaluate: map(Math.sqrt),
  vjp: ({ alg, cts: [ct], outs: [y] }) => [() => alg.scale(0.5, alg.mul(ct!, alg.reciprocal(y!)))],
  flops: each,
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[2]', [4, 9]]], outs: [['f32[2]', [2, 3]]] }],
})

export const sign: Op<None> = op({
  doc: '−1, 0 or 1 by the sign of each element.',
  arity: 1,
  attrs: none,
  infer: same('sign'),
  evaluate: map(Math.sign),
  vjp: null,
  flops: each,
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[3]', [4, 0, -2]]], outs: [['f32[3]', [1, 0, -1]]] }],
})

export const maximum: Op<None> = op({
  doc: 'The larger of two elements.',
  arity: 2,
  attrs: none,
  infer: same('maximum'),
  evaluate: zip(Math.max),
  vjp: null,
  flops: each,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [1, -2]],
        ['f32[2]', [0.5, 7]],
      ],
      outs: [['f32[2]', [1, 7]]],
    },
  ],
})

export const shift: Op<{ by: number }> = op({
  doc: 'Every element plus a constant of the program.',
  arity: 1,
  attrs: t.strict({ by: t.number }),
  infer: same('shift'),
  evaluate: ({ by }, args) => map((x) => x + by)(null, args),
  vjp: ({ cts: [ct] }) => [() => ct!],
  flops: each,
  overwrites: [0],
  examples: [{ attrs: { by: 0.5 }, args: [['f32[2]', [3, -2]]], outs: [['f32[2]', [3.5, -1.5]]] }],
})

export const power: Op<{ exponent: number }> = op({
  doc: 'Every element, none below zero, to a constant power.',
  arity: 1,
  attrs: t.strict({ exponent: t.number }),
  infer: same('power'),
  evaluate: ({ exponent }, args) => map((x) => x ** exponent)(null, args),
  vjp: null,
  flops: each,
  overwrites: [0],
  examples: [
    { attrs: { exponent: -0.5 }, args: [['f32[2]', [4, 0.25]]], outs: [['f32[2]', [0.5, 2]]] },
  ],
})

export const isFinite: Op<None> = op({
  doc: 'Whether every element is a finite number.',
  arity: 1,
  attrs: none,
  infer: (_, [a]) =>
    a !== undefined && isFloat(a.dtype) ? ok(scalar('bool')) : fail('isFinite needs floats'),
  evaluate: (_, args) => [Float64Array.of(values(args, 0).every(Number.isFinite) ? 1 : 0)],
  vjp: null,
  flops: (_, [a]) => size(a!),
  examples: [{ attrs: {}, args: [['f32[2]', [4, Infinity]]], outs: [['bool[]', [0]]] }],
})

export const select: Op<None> = op({
  doc: 'The second operand where the scalar condition holds, else the third.',
  arity: 3,
  attrs: none,
  infer: (_, [c, a, b]) =>
    c === undefined || a === undefined || b === undefined || !equals(c, scalar('bool'))
      ? fail('select takes a bool[] condition and two tensors')
      : equals(a, b) && !isEncoded(a.dtype)
        ? ok(a)
        : fail(`select takes two plain tensors of one type, got ${show(a)} and ${show(b)}`),
  evaluate: (_, args) => [values(args, values(args, 0)[0] === 0 ? 2 : 1).slice()],
  vjp: null,
  flops: each,
  overwrites: [1],
  examples: [
    {
      attrs: {},
      args: [
        ['bool[]', [0]],
        ['f32[1]', [1]],
        ['f32[1]', [2]],
      ],
      outs: [['f32[1]', [2]]],
    },
  ],
})

const floatName = t.union([t.literal('f32'), t.literal('f16'), t.literal('bf16')])

export const cast: Op<{ to: 'f32' | 'f16' | 'bf16' }> = op({
  doc: 'Conversion to another float width, rounded to nearest even.',
  arity: 1,
  attrs: t.strict({ to: floatName }),
  infer: ({ to }, [a]) =>
    a !== undefined && isFloat(a.dtype)
      ? ok(like(a, to))
      : fail(`cast converts floats, got ${a === undefined ? 'nothing' : show(a)}`),
  evaluate: map((x) => x),
  vjp: ({ alg, cts: [ct], types: [a] }) => [() => alg.cast(a!.dtype, ct!)],
  flops: free,
  examples: [{ attrs: { to: 'bf16' }, args: [['f32[1]', [1.00390625]]], outs: [['bf16[1]', [1]]] }],
})

export const fill: Op<{ value: number; dtype: string; shape: ReadonlyArray<number> }> = op({
  doc: 'A tensor with one value everywhere.',
  arity: 0,
  attrs: t.strict({ value: t.number, dtype: t.string, shape: t.readonlyArray(t.number) }),
  infer: ({ dtype, shape }) =>
    isPlain(dtype as 'f32') ? ok({ dtype: dtype as 'f32', shape }) : fail(`no dtype ${dtype}`),
  evaluate: ({ value }, _, [out]) => [new Float64Array(size(out!)).fill(value)],
  vjp: () => [],
  flops: free,
  examples: [
    { attrs: { value: 3, dtype: 'f32', shape: [2] }, args: [], outs: [['f32[2]', [3, 3]]] },
  ],
})
