/** Every op as TensorFlow ops. The table is total: an op without a line does not compile. */
import type { OpName } from '../../ir/ops/index.ts'
import { size, type Plain } from '../../ir/type.ts'
import { attention, attentionGrad } from './attention.ts'
import { cachedAttention, cacheWrite, embedGrad } from './cached.ts'
import { classCrossEntropy, classCrossEntropyGrad } from './classes.ts'
import {
  binary,
  dropout,
  logOdds,
  noise,
  positive,
  swiglu,
  swigluGrad,
  unary,
} from './elementwise.ts'
import { decode8, encode8 } from './eight.ts'
import { float8Dot } from './float8.ts'
import { int8Dot } from './int8.ts'
import {
  linearArgmax,
  linearCrossEntropy,
  linearCrossEntropyGrad,
  linearCrossEntropyWeightGrad,
} from './loss.ts'
import { dtypeOf } from './nodes.ts'
import { rmsNorm, rmsNormGrad, rmsNormWeightGrad } from './norm.ts'
import { adamw, clipCoefficient, lossScale } from './optim.ts'
import { dequantize } from './quant.ts'
import { rope, ropeTable } from './rope.ts'
import { segmentSum, segmentTake } from './segments.ts'
import { wide, type KernelOf } from './site.ts'

/** Kernels that only move values take 16-bit ones as they are; the others compute in f32. */
export const kernels: { readonly [K in OpName]: KernelOf<K> } = {
  add: wide(binary('add')),
  sub: wide(binary('sub')),
  mul: wide(binary('mul')),
  scale: wide(({ n, attrs, args }) => [n.mul(args[0]!, n.scalar(attrs.by))]),
  scaleBy: wide(binary('mul')),
  reciprocal: wide(unary('Reciprocal')),
  sqrt: wide(unary('Sqrt')),
  sign: wide(unary('Sign')),
  maximum: wide(({ n, args: [a, b] }) => [n.one('Maximum', [a!, b!])]),
  shift: wide(({ n, attrs, args }) => [n.add(args[0]!, n.scalar(attrs.by))]),
  power: wide(({ n, attrs, args }) => [n.one('Pow', [args[0]!, n.scalar(attrs.exponent)])]),
  isFinite: wide(({ n, args }) => [n.all(n.one('IsFinite', [args[0]!]), n.axes(args[0]!))]),
  select: ({ n, args: [c, x, y] }) => [n.where(c!, x!, y!)],
  cast: wide(({ args }) => [args[0]!]),
  fill: ({ n, attrs, outs: [out] }) => [
    n.cast(n.fill(out!.shape, n.scalar(attrs.value)), dtypeOf[out!.dtype as Plain]),
  ],
  dot: wide(({ n, attrs, args: [a, b] }) => [n.dot(a!, b!, attrs)]),
  float8Dot: wide(float8Dot),
  int8Dot: wide(int8Dot),
  addRow: wide(binary('add')),
  mulRow: wide(binary('mul')),
  adaptedNorms: wide(({ n, attrs: { by }, args: [w, a, b] }) => {
    const low = n.dot(b!, a!, { ta: false, tb: false })
    return [n.one('Sqrt', [n.sum(n.square(n.add(w!, n.mul(low, n.scalar(by)))), [1])])]
  }),
  sumRows: wide(({ n, args }) => [n.sum(args[0]!, [0])]),
  sum: wide(({ n, args }) => [n.sum(args[0]!, n.axes(args[0]!))]),
  sumSquares: wide(({ n, args }) => [n.sum(n.square(args[0]!), n.axes(args[0]!))]),
  spread: ({ n, attrs, args }) => [n.fill(attrs.shape, args[0]!)],
  takeRows: ({ n, args: [x, at] }) => [n.gather(x!, at!)],
  embed: ({ n, args: [table, tokens], types }) => [
    n.gather(table!, n.reshape(tokens!, size(types[1]!))),
  ],
  embedGrad: wide(embedGrad),
  rmsNorm: wide(rmsNorm),
  rmsNormGrad: wide(rmsNormGrad),
  rmsNormWeightGrad: wide(rmsNormWeightGrad),
  swiglu: wide(swiglu),
  swigluGrad: wide(swigluGrad),
  dropout: wide(dropout),
  noise: wide(noise),
  ropeTable: wide(ropeTable),
  rope: wide(rope),
  attention: wide(attention),
  attentionGrad: wide(attentionGrad),
  cacheWrite,
  cachedAttention: wide(cachedAttention),
  linearCrossEntropy: wide(linearCrossEntropy),
  linearCrossEntropyGrad: wide(linearCrossEntropyGrad),
  linearCrossEntropyWeightGrad: wide(linearCrossEntropyWeightGrad),
  linearArgmax: wide(linearArgmax),
  sigmoid: wide(unary('Sigmoid')),
  softplus: wide(unary('Softplus')),
  logOdds: wide(logOdds),
  positive: wide(positive),
  segmentSum,
  segmentTake,
  classCrossEntropy: wide(classCrossEntropy),
  classCrossEntropyGrad: wide(classCrossEntropyGrad),
  dequantize: wide(dequantize),
  clipCoefficient: wide(clipCoefficient),
  adamw: wide(adamw),
  encode8,
  decode8,
  lossScale: wide(lossScale),
}
