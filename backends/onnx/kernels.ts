/** Every op as ONNX nodes. The table is total: an op without a line does not compile. */
import type * as t from 'io-ts'
import type { ops, OpName } from '../../ir/ops/index.ts'
import { size } from '../../ir/type.ts'
import { attention, attentionGrad } from './attention.ts'
import { cachedAttention, cacheWrite } from './cached.ts'
import { classCrossEntropy, classCrossEntropyGrad } from './classes.ts'
import { decode8, encode8 } from './eight.ts'
import { float8Dot } from './float8.ts'
import { int8Dot } from './int8.ts'
import {
  linearArgmax,
  linearCrossEntropy,
  linearCrossEntropyGrad,
  linearCrossEntropyWeightGrad,
} from './loss.ts'
import { segmentSum, segmentTake } from './segments.ts'
import type { Value } from './model.ts'
import { dequantize } from './quant.ts'
import { rope, ropeTable } from './rope.ts'
import { CAST, float, int, microsoft, type Nodes, type Site } from './site.ts'

type AttrsOf<K extends OpName> = t.TypeOf<(typeof ops)[K]['attrs']>
export type Kernel<K extends OpName> = (s: Site<AttrsOf<K>>) => ReadonlyArray<Value>

const binary =
  (op: string) =>
  ({ n, args }: Site<object>): ReadonlyArray<Value> => [n.one(op, [args[0]!, args[1]!])]
const unary =
  (op: string) =>
  ({ n, args }: Site<object>): ReadonlyArray<Value> => [n.one(op, [args[0]!])]

/** A few columns against many tokens run faster as the transposed product. */
const NARROW = 16

const dot: Kernel<'dot'> = ({ n, attrs: { ta, tb }, args: [a, b], outs: [out] }) =>
  ta && out!.shape[1]! <= NARROW && out!.shape[0]! > NARROW
    ? [n.transpose(n.gemm(b!, a!, { ta: !tb, tb: false }), 1, 0)]
    : [n.gemm(a!, b!, { ta, tb })]

const norm = (s: Site<{ eps: number }>): readonly [Value, Value] => {
  const [y, inverse] = s.n.many('SimplifiedLayerNormalization', s.args.slice(0, 2), 2, {
    axis: int(-1),
    epsilon: float(s.attrs.eps),
    stash_type: int(1),
  })
  return [y!, inverse!]
}

const rmsNormGrad: Kernel<'rmsNormGrad'> = (s) => {
  const { n } = s
  const [x, w, ct] = s.args as [Value, Value, Value]
  const width = s.types[0]!.shape[1]!
  const inverse = norm(s)[1]
  const mean = n.gemm(n.mul(ct, x), n.reshape(w, width, 1), { alpha: 1 / width })
  const cubed = n.mul(inverse, n.mul(inverse, inverse))
  return [n.sub(n.mul(n.mul(ct, w), inverse), n.mul(x, n.mul(mean, cubed)))]
}

const rmsNormWeightGrad: Kernel<'rmsNormWeightGrad'> = (s) => {
  const { n } = s
  const [x, , ct] = s.args as [Value, Value, Value]
  return [n.one('ReduceSum', [n.mul(n.mul(ct, x), norm(s)[1]), n.i64(0)], { keepdims: int(0) })]
}

const silu = (n: Nodes, x: Value): Value => n.one('QuickGelu', [x], { alpha: float(1) }, microsoft)

/** d/dgate = ct·(σ·(up − a) + a) with a = silu(gate)·up; both factors may be shared with the forward. */
const swigluGrad: Kernel<'swigluGrad'> = ({ n, args: [gate, up, ct] }) => {
  const [s, a] = [silu(n, gate!), n.mul(silu(n, gate!), up!)]
  const sigma = n.one('Sigmoid', [gate!])
  return [n.mul(ct!, n.add(n.mul(sigma, n.sub(up!, a)), a)), n.mul(ct!, s)]
}

/** `hash32` of rows' keys and columns in uint32 nodes. */
const hashes = (
  n: Nodes,
  salt: number,
  [rows, columns]: readonly [number, number],
  seed: Value,
  keys: Value,
): Value => {
  const u32 = (v: Value) => n.cast(v, CAST.u32)
  const shifted = (h: Value, by: number) =>
    n.one('BitwiseXor', [h, n.one('BitShift', [h, n.u32(by)], { direction: { string: 'RIGHT' } })])
  const start = n.add(u32(seed), n.u32(Math.imul(salt, 0x85ebca6b) >>> 0))
  const column = n.add(n.mul(u32(n.iota(columns)), n.u32(0x9e3779b1)), start)
  const key = n.reshape(u32(keys), rows, 1)
  const h1 = shifted(n.one('BitwiseXor', [column, key]), 16)
  const h2 = shifted(n.mul(h1, n.u32(0x7feb352d)), 15)
  return shifted(n.mul(h2, n.u32(0x846ca68b)), 16)
}

const dropout: Kernel<'dropout'> = ({ n, attrs: { rate, salt }, args, types }) => {
  const [x, seed, keys] = args as [Value, Value, Value]
  const h3 = hashes(n, salt, types[0]!.shape as [number, number], seed, keys)
  const dropped = n.one('Less', [h3, n.u32(Math.floor(rate * 2 ** 32))])
  const factor = n.one('Where', [dropped, n.scalar(0), n.scalar(1 / (1 - rate))])
  return [n.mul(x, factor)]
}

const noise: Kernel<'noise'> = ({ n, attrs: { salt }, args, types }) => {
  const [x, seed, keys, reach] = args as [Value, Value, Value, Value]
  const shape = types[0]!.shape as [number, number]
  const high = n.one('BitShift', [hashes(n, salt, shape, seed, keys), n.u32(8)], {
    direction: { string: 'RIGHT' },
  })
  const uniform = n.sub(n.mul(n.cast(high, CAST.f32), n.scalar(2 ** -23)), n.scalar(1))
  return [n.add(x, n.mul(uniform, n.reshape(reach, shape[0], 1)))]
}

const adamw: Kernel<'adamw'> = ({ n, attrs: a, args }) => {
  const [p, g0, m0, v0, lr, step] = args as [Value, Value, Value, Value, Value, Value]
  const k = n.scalar
  const g = a.decoupled || a.decay === 0 ? g0 : n.add(g0, n.mul(p, k(a.decay)))
  const m = n.add(n.mul(m0, k(a.beta1)), n.mul(g, k(1 - a.beta1)))
  const v = n.add(n.mul(v0, k(a.beta2)), n.mul(n.mul(g, g), k(1 - a.beta2)))
  // 1 − βᵗ in f64: in f32 the first steps would lose half their digits.
  const f64 = (x: number) => n.double(x)
  const t = n.cast(step, CAST.f64)
  const rest = (beta: number) => n.sub(f64(1), n.one('Pow', [f64(beta), t]))
  const rate = n.cast(n.div(n.cast(lr, CAST.f64), rest(a.beta1)), CAST.f32)
  const root = n.cast(n.one('Sqrt', [rest(a.beta2)]), CAST.f32)
  const change = n.div(n.mul(m, rate), n.add(n.div(n.one('Sqrt', [v]), root), k(a.eps)))
  const kept = a.decoupled && a.decay > 0 ? n.mul(p, n.sub(k(1), n.mul(lr, k(a.decay)))) : p
  return [n.sub(kept, change), m, v]
}

/** 1 − e^−x as tanh(x/2)·(1 + e^−x): nothing cancels where x is small. */
const logOdds: Kernel<'logOdds'> = ({ n, args: [x] }) => {
  const odd = n.one('Tanh', [n.mul(x!, n.scalar(0.5))])
  const even = n.add(n.scalar(1), n.one('Exp', [n.one('Neg', [x!])]))
  return [n.sub(n.one('Neg', [x!]), n.one('Log', [n.mul(odd, even)]))]
}

const lossScale: Kernel<'lossScale'> = ({ n, args: [scale, streak, finite] }) => {
  const longer = n.add(streak!, n.scalar(1))
  const full = n.one('GreaterOrEqual', [longer, n.scalar(2000)])
  const pick = (c: Value, x: Value, y: Value) => n.one('Where', [c, x, y])
  return [
    pick(finite!, pick(full, n.mul(scale!, n.scalar(2)), scale!), n.mul(scale!, n.scalar(0.5))),
    pick(finite!, pick(full, n.scalar(0), longer), n.scalar(0)),
  ]
}

export const kernels: { readonly [K in OpName]: Kernel<K> } = {
  add: binary('Add'),
  sub: binary('Sub'),
  mul: binary('Mul'),
  scale: ({ n, attrs, args }) => [n.mul(args[0]!, n.scalar(attrs.by))],
  scaleBy: binary('Mul'),
  reciprocal: unary('Reciprocal'),
  sqrt: unary('Sqrt'),
  sign: unary('Sign'),
  maximum: binary('Max'),
  shift: ({ n, attrs, args }) => [n.add(args[0]!, n.scalar(attrs.by))],
  power: ({ n, attrs, args }) => [n.one('Pow', [args[0]!, n.scalar(attrs.exponent)])],
  isFinite: ({ n, args }) => {
    // x − x is 0 for a finite number and NaN otherwise, and a NaN survives the sum.
    const total = n.sumAll(n.sub(args[0]!, args[0]!))
    return [n.one('Equal', [total, n.scalar(0)])]
  },
  select: ({ n, args }) => [n.one('Where', args)],
  cast: ({ args }) => [args[0]!],
  fill: ({ n, attrs, outs }) => [n.constantOf(outs[0]!, attrs.value)],
  dot,
  float8Dot,
  int8Dot,
  addRow: binary('Add'),
  mulRow: binary('Mul'),
  adaptedNorms: ({ n, attrs: { by }, args: [w, a, b] }) => [
    n.one('ReduceL2', [n.add(w!, n.gemm(b!, a!, { alpha: by })), n.i64(1)], { keepdims: int(0) }),
  ],
  sumRows: ({ n, args }) => [n.one('ReduceSum', [args[0]!, n.i64(0)], { keepdims: int(0) })],
  sum: ({ n, args }) => [n.sumAll(args[0]!)],
  sumSquares: ({ n, args }) => [n.one('ReduceSumSquare', [args[0]!], { keepdims: int(0) })],
  spread: ({ n, args, attrs }) => [n.one('Expand', [args[0]!, n.i64(...attrs.shape)])],
  takeRows: binary('Gather'),
  embed: ({ n, args, types }) => [
    n.one('Gather', [args[0]!, n.reshape(args[1]!, size(types[1]!))]),
  ],
  embedGrad: ({ n, args, types, outs }) => {
    const at = n.cast(n.reshape(args[0]!, size(types[0]!), 1), CAST.i64)
    return [
      n.one('ScatterND', [n.filled(outs[0]!.shape, 0), at, args[1]!], {
        reduction: { string: 'add' },
      }),
    ]
  },
  rmsNorm: (s) => [norm(s)[0]],
  rmsNormGrad,
  rmsNormWeightGrad,
  swiglu: ({ n, args: [gate, up] }) => [n.mul(silu(n, gate!), up!)],
  swigluGrad,
  dropout,
  noise,
  ropeTable,
  rope,
  attention,
  attentionGrad,
  cacheWrite,
  cachedAttention,
  linearCrossEntropy,
  linearCrossEntropyGrad,
  linearCrossEntropyWeightGrad,
  linearArgmax,
  sigmoid: unary('Sigmoid'),
  softplus: unary('Softplus'),
  logOdds,
  positive: ({ n, args }) => [n.cast(n.one('Greater', [args[0]!, n.scalar(0)]), CAST.f32)],
  segmentSum,
  segmentTake,
  classCrossEntropy,
  classCrossEntropyGrad,
  dequantize,
  clipCoefficient: ({ n, attrs, args }) => {
    const norm1 = n.add(n.one('Sqrt', [args[0]!]), n.scalar(1e-6))
    return [n.one('Min', [n.scalar(1), n.div(n.scalar(attrs.max), norm1)])]
  },
  adamw,
  encode8,
  decode8,
  lossScale,
}
