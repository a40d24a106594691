/** The vocabulary of tensor functions. Models and gradient rules are written in it; the builder makes equations of it. */
import type { Attrs } from './graph.ts'
import type { Float8Dot } from './ops/float8.ts'
import type { Int8Dot } from './ops/int8.ts'
import type { OpName } from './ops/index.ts'
import type { DType, TensorType } from './type.ts'

export interface Heads {
  readonly heads: number
  readonly kvHeads: number
}

/** RoPE frequencies: θ^(−2i/dim), with optional position interpolation (`linear`) or Llama-3 scaling. */
export interface Rope {
  readonly dim: number
  readonly theta: number
  readonly factor: number
  /** Both 0 for none or linear scaling. */
  readonly lowFreqFactor: number
  readonly highFreqFactor: number
  readonly originalContext: number
}

export interface Adam {
  readonly beta1: number
  readonly beta2: number
  readonly eps: number
  readonly decay: number
  /** AdamW decays the parameter itself; Adam adds the decay to the gradient. */
  readonly decoupled: boolean
}

/** Emits one op and returns its results. */
export type Emit<V> = (op: OpName, attrs: Attrs, ...args: ReadonlyArray<V>) => ReadonlyArray<V>

const one = <V>(vs: ReadonlyArray<V>): V => vs[0]!
const two = <V>(vs: ReadonlyArray<V>): readonly [V, V] => [vs[0]!, vs[1]!]
const three = <V>(vs: ReadonlyArray<V>): readonly [V, V, V] => [vs[0]!, vs[1]!, vs[2]!]

/** Each function is the op of the same name; its record in `ir/ops` says what it means. */
export const algebra = <V>(emit: Emit<V>, typeOf: (v: V) => TensorType) => ({
  typeOf,
  add: (a: V, b: V) => one(emit('add', {}, a, b)),
  sub: (a: V, b: V) => one(emit('sub', {}, a, b)),
  mul: (a: V, b: V) => one(emit('mul', {}, a, b)),
  scale: (by: number, a: V) => one(emit('scale', { by }, a)),
  scaleBy: (a: V, s: V) => one(emit('scaleBy', {}, a, s)),
  reciprocal: (a: V) => one(emit('reciprocal', {}, a)),
  sqrt: (a: V) => one(emit('sqrt', {}, a)),
  sign: (a: V) => one(emit('sign', {}, a)),
  maximum: (a: V, b: V) => one(emit('maximum', {}, a, b)),
  shift: (by: number, a: V) => one(emit('shift', { by }, a)),
  power: (exponent: number, a: V) => one(emit('power', { exponent }, a)),
  select: (c: V, a: V, b: V) => one(emit('select', {}, c, a, b)),
  isFinite: (a: V) => one(emit('isFinite', {}, a)),
  cast: (to: DType, a: V) => (typeOf(a).dtype === to ? a : one(emit('cast', { to }, a))),
  fill: (value: number, type: TensorType) =>
    one(emit('fill', { value, dtype: type.dtype, shape: type.shape })),
  dot: (t: { readonly ta?: boolean; readonly tb?: boolean }, a: V, b: V) =>
    one(emit('dot', { ta: t.ta ?? false, tb: t.tb ?? false }, a, b)),
  int8Dot: (a: Int8Dot, x: V, w: V) => one(emit('int8Dot', { ...a }, x, w)),
  float8Dot: (a: Float8Dot, x: V, w: V) => one(emit('float8Dot', { ...a }, x, w)),
  addRow: (a: V, row: V) => one(emit('addRow', {}, a, row)),
  mulRow: (a: V, row: V) => one(emit('mulRow', {}, a, row)),
  adaptedNorms: (by: number, w: V, a: V, b: V) => one(emit('adaptedNorms', { by }, w, a, b)),
  sumRows: (a: V) => one(emit('sumRows', {}, a)),
  sum: (a: V) => one(emit('sum', {}, a)),
  sumSquares: (a: V) => one(emit('sumSquares', {}, a)),
  spread: (s: V, shape: ReadonlyArray<number>) => one(emit('spread', { shape }, s)),
  takeRows: (a: V, index: V) => one(emit('takeRows', {}, a, index)),
  embed: (table: V, tokens: V) => one(emit('embed', {}, table, tokens)),
  embedGrad: (vocab: number, tokens: V, ct: V) => one(emit('embedGrad', { vocab }, tokens, ct)),
  rmsNorm: (eps: number, x: V, w: V) => one(emit('rmsNorm', { eps }, x, w)),
  rmsNormGrad: (eps: number, x: V, w: V, ct: V) => one(emit('rmsNormGrad', { eps }, x, w, ct)),
  rmsNormWeightGrad: (eps: number, x: V, w: V, ct: V) =>
    one(emit('rmsNormWeightGrad', { eps }, x, w, ct)),
  swiglu: (gate: V, up: V) => one(emit('swiglu', {}, gate, up)),
  swigluGrad: (gate: V, up: V, ct: V) => two(emit('swigluGrad', {}, gate, up, ct)),
  dropout: (a: { readonly rate: number; readonly salt: number }, x: V, seed: V, keys: V) =>
    one(emit('dropout', a, x, seed, keys)),
  noise: (salt: number, x: V, seed: V, keys: V, reach: V) =>
    one(emit('noise', { salt }, x, seed, keys, reach)),
  ropeTable: (a: Rope, positions: V) => two(emit('ropeTable', { ...a }, positions)),
  rope: (inverse: boolean, x: V, cos: V, sin: V) => one(emit('rope', { inverse }, x, cos, sin)),
  attention: (h: Heads, q: V, k: V, v: V, segments: V) =>
    two(emit('attention', { ...h }, q, k, v, segments)),
  attentionGrad: (h: Heads, a: ReadonlyArray<V>) => three(emit('attentionGrad', { ...h }, ...a)),
  cacheWrite: (cache: V, x: V, positions: V) => one(emit('cacheWrite', {}, cache, x, positions)),
  cachedAttention: (h: Heads, q: V, k: V, v: V, positions: V) =>
    one(emit('cachedAttention', { ...h }, q, k, v, positions)),
  linearCrossEntropy: (x: V, w: V, targets: V) =>
    two(emit('linearCrossEntropy', {}, x, w, targets)),
  linearCrossEntropyGrad: (x: V, w: V, targets: V, lse: V, ct: V) =>
    one(emit('linearCrossEntropyGrad', {}, x, w, targets, lse, ct)),
  linearCrossEntropyWeightGrad: (x: V, w: V, targets: V, lse: V, ct: V) =>
    one(emit('linearCrossEntropyWeightGrad', {}, x, w, targets, lse, ct)),
  sigmoid: (a: V) => one(emit('sigmoid', {}, a)),
  softplus: (a: V) => one(emit('softplus', {}, a)),
  logOdds: (a: V) => one(emit('logOdds', {}, a)),
  positive: (a: V) => one(emit('positive', {}, a)),
  segmentSum: (count: number, x: V, ids: V) => one(emit('segmentSum', { count }, x, ids)),
  segmentTake: (x: V, ids: V) => one(emit('segmentTake', {}, x, ids)),
  linearArgmax: (x: V, w: V) => one(emit('linearArgmax', {}, x, w)),
  classCrossEntropy: (logits: V, targets: V) => one(emit('classCrossEntropy', {}, logits, targets)),
  classCrossEntropyGrad: (logits: V, targets: V, ct: V) =>
    one(emit('classCrossEntropyGrad', {}, logits, targets, ct)),
  dequantize: (to: DType, w: V) => one(emit('dequantize', { to }, w)),
  clipCoefficient: (max: number, sumSquares: V) =>
    one(emit('clipCoefficient', { max }, sumSquares)),
  adamw: (a: Adam, p: V, g: V, m: V, v: V, lr: V, step: V) =>
    three(emit('adamw', { ...a }, p, g, m, v, lr, step)),
  encode8: (unsigned: boolean, x: V) => two(emit('encode8', { unsigned }, x)),
  decode8: (unsigned: boolean, codes: V, scales: V) =>
    one(emit('decode8', { unsigned }, codes, scales)),
  lossScale: (scale: V, streak: V, finite: V) => two(emit('lossScale', {}, scale, streak, finite)),
})

export type Algebra<V> = ReturnType<typeof algebra<V>>
