/** Every op alone: the kernels that compute it where no rule fuses it. The table is complete over op names. */
import type { Rope } from '../../../ir/algebra.ts'
import type { Id } from '../../../ir/graph.ts'
import type { OpName } from '../../../ir/ops/index.ts'
import { bytes, type Float, type Plain } from '../../../ir/type.ts'
import * as attention from '../kernels/attention.ts'
import * as elementwise from '../kernels/elementwise.ts'
import * as loss from '../kernels/loss.ts'
import { dequantize } from '../kernels/decode.ts'
import * as reduce from '../kernels/reduce.ts'
import * as rotary from '../kernels/rope.ts'
import { adaptedNorms } from './adapters.ts'
import { alone, binary, clear, copy, reduction, shapeOf, unary, type Lowering } from './alone.ts'
import { classCrossEntropy, classCrossEntropyGrad } from './classes.ts'
import type { Context } from './context.ts'
import { plainFloat8 } from './float8.ts'
import { plainInt8 } from './int8.ts'
import { overLogits, slopes } from './logits.ts'
import { rmsNorm, rmsNormGrad, rmsNormWeightGrad } from './norms.ts'
import { argOf, attr } from './pattern.ts'
import { updates } from './plain-update.ts'
import { product } from './product.ts'
import { attentionGradStep, attentionStep } from './rules/attention.ts'
import { lossStep } from './rules/loss.ts'
import { plainDot } from './rules/residual.ts'
import { plainRope } from './rules/rope.ts'
import { gather, segmentSum, segmentTake, takeRows } from './segments.ts'

const cacheDims = (c: Context, positions: Id, cache: Id) => {
  const [batch, length] = c.type(positions).shape as readonly [number, number]
  return { batch, length, capacity: c.type(cache).shape[1]!, dtype: c.type(cache).dtype as Float }
}

const table: { readonly [K in OpName]: Lowering } = {
  add: binary(elementwise.add),
  sub: binary(elementwise.sub),
  mul: binary(elementwise.mul),
  scale: unary((o, s) => elementwise.scale({ ...o, by: attr(s, 'by') })),
  scaleBy: unary((o, _, h) => elementwise.scaleBy({ ...o, by: h.argAt(1) })),
  reciprocal: unary(elementwise.reciprocal),
  sqrt: unary(elementwise.sqrt),
  sign: unary(elementwise.sign),
  maximum: binary(elementwise.maximum),
  shift: unary((o, s) => elementwise.shift({ ...o, by: attr(s, 'by') })),
  power: unary((o, s) => elementwise.power({ ...o, exponent: attr(s, 'exponent') })),
  addRow: unary((o, _, h) => elementwise.addRow({ ...o, b: h.argAt(1) })),
  mulRow: unary((o, _, h) => elementwise.mulRow({ ...o, b: h.argAt(1) })),
  adaptedNorms,
  dropout: unary((o, s, h) =>
    elementwise.dropout({
      ...o,
      seed: h.argAt(1),
      keys: h.argAt(2),
      rate: attr(s, 'rate'),
      salt: attr(s, 'salt'),
    }),
  ),
  noise: unary((o, s, h) =>
    elementwise.noise({
      ...o,
      seed: h.argAt(1),
      keys: h.argAt(2),
      reach: h.argAt(3),
      salt: attr(s, 'salt'),
    }),
  ),
  isFinite: reduction(reduce.isFinite),
  sum: reduction(reduce.sum),
  sumSquares: reduction(reduce.sumSquares),
  select: (c, s) =>
    alone(c, s, (h) => [
      elementwise.select({
        ...h.shape,
        dtype: h.dtype as Plain,
        condition: h.argAt(0),
        a: h.arg(1),
        b: h.arg(2),
        out: h.out(),
      }),
    ]),
  cast: (c, s) =>
    alone(c, s, (h) => [
      elementwise.cast({
        ...h.shape,
        a: h.arg(0),
        out: h.out(),
        from: c.type(argOf(s, 0)).dtype as Float,
        to: h.dtype,
      }),
    ]),
  fill: (c, s) =>
    alone(c, s, (h) => [
      attr<number>(s, 'value') === 0
        ? clear(h.outAt(), bytes(s.eqn.types[0]!))
        : elementwise.fill({
            ...h.shape,
            dtype: h.dtype as Plain,
            value: attr(s, 'value'),
            out: h.out(),
          }),
    ]),
  spread: (c, s) =>
    alone(c, s, (h) => [
      elementwise.spread({ ...h.shape, dtype: h.dtype, value: h.argAt(0), out: h.out() }),
    ]),
  dot: plainDot,
  float8Dot: plainFloat8,
  int8Dot: plainInt8,
  sumRows: (c, s) =>
    alone(c, s, (h) => [
      reduce.sumRows({
        ...shapeOf(c.type(argOf(s, 0))),
        a: h.arg(0),
        dtype: h.dtype,
        out: h.outAt(),
      }),
    ]),
  takeRows,
  embed: gather,
  embedGrad: (c, s) =>
    alone(c, s, (h) => [
      reduce.embedGrad({
        ids: h.argAt(0),
        ct: h.arg(1),
        out: h.out(),
        tokens: c.type(argOf(s, 1)).shape[0]!,
        vocab: h.shape.rows,
        width: h.shape.width,
        dtype: h.dtype,
      }),
    ]),
  rmsNorm,
  rmsNormGrad,
  rmsNormWeightGrad,
  swiglu: (c, s) =>
    alone(c, s, (h) => [
      elementwise.swiglu({
        ...h.shape,
        dtype: h.dtype,
        gate: h.arg(0),
        up: h.arg(1),
        out: h.out(),
      }),
    ]),
  swigluGrad: (c, s) =>
    alone(c, s, (h) => [
      elementwise.swigluGrad({
        ...h.shape,
        dtype: h.dtype,
        gate: h.arg(0),
        up: h.arg(1),
        ct: h.arg(2),
        dgate: h.out(0),
        dup: h.out(1),
      }),
    ]),
  ropeTable: (c, s) =>
    alone(c, s, (h) => [
      rotary.ropeTable({
        positions: h.argAt(0),
        cos: h.outAt(0),
        sin: h.outAt(1),
        rows: h.shape.rows,
        rope: s.eqn.attrs as unknown as Rope,
      }),
    ]),
  rope: plainRope,
  attention: attentionStep,
  attentionGrad: (c, s) => attentionGradStep(c, s),
  cacheWrite: (c, s) => {
    const size = bytes(s.eqn.types[0]!)
    return alone(c, s, (h) => [
      ...(h.outAt() === h.argAt(0) ? [] : [copy(h.argAt(0), h.outAt(), size)]),
      attention.cacheWrite({
        ...cacheDims(c, argOf(s, 2), argOf(s, 0)),
        cache: h.outAt(),
        x: h.arg(1),
        width: h.shape.width,
        positions: h.argAt(2),
      }),
    ])
  },
  cachedAttention: (c, s) =>
    alone(c, s, (h) => [
      attention.cachedAttention({
        ...cacheDims(c, argOf(s, 3), argOf(s, 1)),
        positions: h.argAt(3),
        q: h.arg(0),
        k: h.argAt(1),
        v: h.argAt(2),
        out: h.out(),
        heads: attr(s, 'heads'),
        kvHeads: attr(s, 'kvHeads'),
        dim: h.shape.width / attr<number>(s, 'heads'),
      }),
    ]),
  linearCrossEntropy: (c, s) => lossStep(c, s, null),
  linearCrossEntropyGrad: overLogits((h, k) => [
    slopes(h, k),
    product({
      a: { rows: k.logits, dtype: k.dtype },
      b: { rows: h.arg(1), dtype: k.dtype },
      d: { rows: k.rowsOf(h.out()), dtype: k.dtype },
      m: k.n,
      n: k.width,
      k: k.vocab,
    }),
  ]),
  linearCrossEntropyWeightGrad: overLogits((h, k) => [
    slopes(h, k),
    product({
      a: { rows: k.logits, dtype: k.dtype, t: true },
      b: { rows: k.x, dtype: k.dtype },
      d: { rows: h.out(), dtype: k.dtype },
      ...(k.from === 0 ? {} : { c: h.out() }),
      m: k.vocab,
      n: k.width,
      k: k.n,
    }),
  ]),
  linearArgmax: overLogits((h, k) => [
    loss.argmax({
      logits: k.logits,
      dtype: k.dtype,
      rows: k.n,
      width: k.vocab,
      out: h.outAt() + 4 * k.from,
    }),
  ]),
  sigmoid: unary(elementwise.sigmoid),
  softplus: unary(elementwise.softplus),
  logOdds: unary(elementwise.logOdds),
  positive: unary(elementwise.positive),
  segmentSum,
  segmentTake,
  classCrossEntropy,
  classCrossEntropyGrad,
  dequantize: (c, s) =>
    alone(c, s, (h) =>
      dequantize([{ type: c.type(argOf(s, 0)), offset: h.argAt(0), out: h.out() }], h.dtype),
    ),
  ...updates,
}

export const plain: Lowering = (c, site) => table[site.eqn.op](c, site)
