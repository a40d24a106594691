/** Element-wise functions of log-probabilities and their differences. */
import { op, values, type Op, type Tensor } from '../op.ts'
import { size, type TensorType } from '../type.ts'
import { none, same, type None } from '../typing.ts'

const map =
  (f: (x: number) => number) =>
  (_: unknown, args: ReadonlyArray<Tensor>): ReadonlyArray<Float64Array> => [values(args, 0).map(f)]
const few = (_: unknown, __: unknown, outs: ReadonlyArray<TensorType>): number => 4 * size(outs[0]!)

export const sigmoid: Op<None> = op({
  doc: 'Logistic function 1/(1 + e^−x) of each element.',
  arity: 1,
  attrs: none,
  infer: same('sigmoid'),
  evaluate: map((x) => 1 / (1 + Math.exp(-x))),
  vjp: ({ alg, outs: [y], cts: [ct] }) => [() => alg.mul(ct!, alg.sub(y!, alg.mul(y!, y!)))],
  flops: few,
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[2]', [0, 200]]], outs: [['f32[2]', [0.5, 1]]] }],
})

export const softplus: Op<None> = op({
  doc: 'ln(1 + e^x) of each element: −softplus(−x) is the logarithm of sigmoid(x).',
  arity: 1,
  attrs: none,
  infer: same('softplus'),
  evaluate: map((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  vjp: ({ alg, args: [x], cts: [ct] }) => [() => alg.mul(ct!, alg.sigmoid(x!))],
  flops: few,
  overwrites: [0],
  examples: [
    { attrs: {}, args: [['f32[3]', [0, 200, -200]]], outs: [['f32[3]', [Math.LN2, 200, 0]]] },
  ],
})

export const logOdds: Op<None> = op({
  doc: 'ln(p/(1 − p)) of each probability p given as its negative logarithm x = −ln p: −x − ln(1 − e^−x).',
  arity: 1,
  attrs: none,
  infer: same('logOdds'),
  evaluate: map((x) => -x - Math.log(-Math.expm1(-x))),
  // −1/(1 − p), and 1 − p is sigmoid(−y).
  vjp: ({ alg, outs: [y], cts: [ct] }) => [
    () => alg.scale(-1, alg.mul(ct!, alg.reciprocal(alg.sigmoid(alg.scale(-1, y!))))),
  ],
  flops: few,
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[1]', [200]]], outs: [['f32[1]', [-200]]] }],
})

export const positive: Op<None> = op({
  doc: '1 where an element is greater than 0, else 0.',
  arity: 1,
  attrs: none,
  infer: same('positive'),
  evaluate: map((x) => (x > 0 ? 1 : 0)),
  vjp: ({ alg, types: [x] }) => [() => alg.fill(0, x!)],
  flops: (_, [x]) => size(x!),
  overwrites: [0],
  examples: [{ attrs: {}, args: [['f32[3]', [0.5, 0, -2]]], outs: [['f32[3]', [1, 0, 0]]] }],
})
