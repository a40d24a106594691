/** Layers of a transformer around attention: embedding, RMSNorm, SwiGLU, dropout. */
import * as t from 'io-ts'
import { hash32 } from '../random.ts'
import { dim, lazy, op, values, type Op, type Tensor } from '../op.ts'
import { equals, fail, isFloat, ok, scalar, show, size, tensor, type TensorType } from '../type.ts'
import { none, same, type None } from '../typing.ts'

const count = (_: unknown, args: ReadonlyArray<TensorType>): number => size(args[0]!)
const tokenGrid = (a: TensorType | undefined): a is TensorType =>
  a !== undefined && a.dtype === 'i32' && a.shape.length === 2

export const embed: Op<None> = op({
  doc: 'Rows of a table by token id: [V, H] and i32[R, T] to [R·T, H].',
  arity: 2,
  attrs: none,
  infer: (_, [table, tokens]) =>
    table !== undefined && table.shape.length === 2 && isFloat(table.dtype) && tokenGrid(tokens)
      ? ok(tensor(table.dtype, size(tokens), table.shape[1]!))
      : fail('embed takes a float table [V, H] and i32 tokens [R, T]'),
  evaluate: (_, args, [out]) => {
    const [w, ids, h] = [values(args, 0), values(args, 1), dim(args, 0, 1)]
    return [new Float64Array(size(out!)).map((__, i) => w[ids[Math.floor(i / h)]! * h + (i % h)]!)]
  },
  vjp: ({ alg, args: [, tokens], types: [table], cts: [ct] }) => [
    () => alg.embedGrad(table!.shape[0]!, tokens!, ct!),
    null,
  ],
  flops: () => 0,
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2, 2]', [1, 2, 3, 4]],
        ['i32[1, 3]', [1, 0, 1]],
      ],
      outs: [['f32[3, 2]', [3, 4, 1, 2, 3, 4]]],
    },
  ],
})

export const embedGrad: Op<{ vocab: number }> = op({
  doc: 'Gradient of `embed` by its table: cotangent rows summed by token id.',
  arity: 2,
  attrs: t.strict({ vocab: t.number }),
  infer: ({ vocab }, [tokens, ct]) =>
    tokenGrid(tokens) &&
    ct !== undefined &&
    isFloat(ct.dtype) &&
    ct.shape.length === 2 &&
    ct.shape[0] === size(tokens)
      ? ok(tensor(ct.dtype, vocab, ct.shape[1]!))
      : fail('embedGrad takes i32 tokens [R, T] and a cotangent [R·T, H]'),
  evaluate: (_, args, [out]) => {
    const [ids, ct, h] = [values(args, 0), values(args, 1), dim(args, 1, 1)]
    const r = new Float64Array(size(out!))
    ct.forEach((x, i) => (r[ids[Math.floor(i / h)]! * h + (i % h)]! += x))
    return [r]
  },
  vjp: null,
  flops: (_, [, ct]) => size(ct!),
  examples: [
    {
      attrs: { vocab: 2 },
      args: [
        ['i32[1, 3]', [1, 0, 1]],
        ['f32[3, 1]', [1, 2, 3]],
      ],
      outs: [['f32[2, 1]', [2, 4]]],
    },
  ],
})

const normTyping =
  (name: string, withCt: boolean, result: 'x' | 'w') =>
  (_: unknown, [x, w, ct]: ReadonlyArray<TensorType>) =>
    x === undefined || w === undefined || x.shape.length !== 2 || !isFloat(x.dtype)
      ? fail(`${name} takes a float matrix and a weight`)
      : w.dtype !== x.dtype || w.shape.length !== 1 || w.shape[0] !== x.shape[1]
        ? fail(`${name}: ${show(x)} needs a weight ${x.dtype}[${x.shape[1]}], got ${show(w)}`)
        : withCt && (ct === undefined || !equals(ct, x))
          ? fail(`${name}: cotangent ${ct ? show(ct) : '?'} for ${show(x)}`)
          : ok(result === 'x' ? x : w)

/** 1/√(mean(x²) + ε) of each row. */
const rowScales = (x: Float64Array, h: number, eps: number): Float64Array => {
  const r = new Float64Array(x.length / h)
  x.forEach((v, i) => (r[Math.floor(i / h)]! += (v * v) / h))
  return r.map((v) => 1 / Math.sqrt(v + eps))
}

export const rmsNorm: Op<{ eps: number }> = op({
  doc: 'x / √(mean(x²) + ε) · w over each row (Zhang and Sennrich 2019), statistics in f32.',
  arity: 2,
  attrs: t.strict({ eps: t.number }),
  infer: normTyping('rmsNorm', false, 'x'),
  evaluate: ({ eps }, args) => {
    const [x, w, h] = [values(args, 0), values(args, 1), dim(args, 0, 1)]
    const s = rowScales(x, h, eps)
    return [x.map((v, i) => v * s[Math.floor(i / h)]! * w[i % h]!)]
  },
  vjp: ({ alg, attrs: { eps }, args: [x, w], cts: [ct] }) => [
    () => alg.rmsNormGrad(eps, x!, w!, ct!),
    () => alg.rmsNormWeightGrad(eps, x!, w!, ct!),
  ],
  flops: (_, [x]) => 4 * size(x!),
  examples: [
    {
      attrs: { eps: 0 },
      args: [
        ['f32[1, 2]', [3, -3]],
        ['f32[2]', [1, 2]],
      ],
      outs: [['f32[1, 2]', [1, -2]]],
    },
  ],
})

export const rmsNormGrad: Op<{ eps: number }> = op({
  doc: 'Gradient of `rmsNorm` by x: s·(ct∘w − x̂·mean(ct∘w∘x̂)), x̂ = s·x.',
  arity: 3,
  attrs: t.strict({ eps: t.number }),
  infer: normTyping('rmsNormGrad', true, 'x'),
  evaluate: ({ eps }, args) => {
    const [x, w, ct, h] = [values(args, 0), values(args, 1), values(args, 2), dim(args, 0, 1)]
    const s = rowScales(x, h, eps)
    const mean = new Float64Array(s.length)
    x.forEach((v, i) => {
      const row = Math.floor(i / h)
      mean[row]! += (ct[i]! * w[i % h]! * v * s[row]!) / h
    })
    return [
      x.map((v, i) => {
        const row = Math.floor(i / h)
        return s[row]! * (ct[i]! * w[i % h]! - v * s[row]! * mean[row]!)
      }),
    ]
  },
  vjp: null,
  flops: (_, [x]) => 8 * size(x!),
  examples: [
    {
      attrs: { eps: 0 },
      args: [
        ['f32[1, 2]', [1, 1]],
        ['f32[2]', [1, 1]],
        ['f32[1, 2]', [1, 0]],
      ],
      outs: [['f32[1, 2]', [0.5, -0.5]]],
    },
  ],
})

export const rmsNormWeightGrad: Op<{ eps: number }> = op({
  doc: 'Gradient of `rmsNorm` by w: the sum over rows of ct∘x̂.',
  arity: 3,
  attrs: t.strict({ eps: t.number }),
  infer: normTyping('rmsNormWeightGrad', true, 'w'),
  evaluate: ({ eps }, args) => {
    const [x, ct, h] = [values(args, 0), values(args, 2), dim(args, 0, 1)]
    const s = rowScales(x, h, eps)
    const r = new Float64Array(h)
    x.forEach((v, i) => (r[i % h]! += ct[i]! * v * s[Math.floor(i / h)]!))
    return [r]
  },
  vjp: null,
  flops: (_, [x]) => 4 * size(x!),
  examples: [
    {
      attrs: { eps: 0 },
      args: [
        ['f32[1, 2]', [3, -3]],
        ['f32[2]', [1, 1]],
        ['f32[1, 2]', [1, 2]],
      ],
      outs: [['f32[2]', [1, -2]]],
    },
  ],
})

const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

export const swiglu: Op<None> = op({
  doc: 'silu(gate)·up, silu(x) = x·sigmoid(x) (Shazeer 2020).',
  arity: 2,
  attrs: none,
  infer: same('swiglu'),
  evaluate: (_, args) => {
    const up = values(args, 1)
    return [values(args, 0).map((g, i) => g * sigmoid(g) * up[i]!)]
  },
  vjp: ({ alg, args: [gate, up], cts: [ct] }) => {
    const grad = lazy(() => alg.swigluGrad(gate!, up!, ct!))
    return [() => grad()[0], () => grad()[1]]
  },
  flops: (_, [g]) => 5 * size(g!),
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[2]', [0, 100]],
        ['f32[2]', [5, 2]],
      ],
      outs: [['f32[2]', [0, 200]]],
    },
  ],
})

export const swigluGrad: Op<None> = op({
  doc: 'Gradients of `swiglu` by gate and up, σ = sigmoid(gate): ct·up·σ(1 + gate(1−σ)) and ct·gate·σ.',
  arity: 3,
  attrs: none,
  infer: (a, args) => {
    const typed = same('swigluGrad')(a, args)
    return typed._tag === 'Left' ? typed : ok(args[0]!, args[0]!)
  },
  evaluate: (_, args) => {
    const [gate, up, ct] = [values(args, 0), values(args, 1), values(args, 2)]
    return [
      gate.map((g, i) => ct[i]! * up[i]! * sigmoid(g) * (1 + g * (1 - sigmoid(g)))),
      gate.map((g, i) => ct[i]! * g * sigmoid(g)),
    ]
  },
  vjp: null,
  flops: (_, [g]) => 10 * size(g!),
  overwrites: [0, 1],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1]', [0]],
        ['f32[1]', [4]],
        ['f32[1]', [1]],
      ],
      outs: [
        ['f32[1]', [2]],
        ['f32[1]', [0]],
      ],
    },
  ],
})

const kept = ({ rate, salt }: { rate: number; salt: number }, args: ReadonlyArray<Tensor>) => {
  const [x, seed, keys, h] = [
    values(args, 0),
    values(args, 1)[0]!,
    values(args, 2),
    dim(args, 0, 1),
  ]
  const threshold = Math.floor(rate * 2 ** 32)
  return x.map((v, i) =>
    hash32(seed, salt, i % h, keys[Math.floor(i / h)]) >= threshold ? v / (1 - rate) : 0,
  )
}

export const dropout: Op<{ rate: number; salt: number }> = op({
  doc: 'Zeroes elements with probability `rate` and divides the rest by 1 − rate; the mask is a hash of (seed, salt, key of the row, column), so recomputing or packing otherwise gives the same one.',
  arity: 3,
  attrs: t.strict({ rate: t.number, salt: t.number }),
  infer: ({ rate }, [x, seed, keys]) =>
    x === undefined ||
    seed === undefined ||
    keys === undefined ||
    !isFloat(x.dtype) ||
    x.shape.length !== 2 ||
    !equals(seed, scalar('i32')) ||
    !equals(keys, tensor('i32', x.shape[0]!))
      ? fail('dropout takes a float matrix [N, H], a seed i32[] and keys i32[N]')
      : rate >= 0 && rate < 1
        ? ok(x)
        : fail(`dropout rate ${rate} is not in [0, 1)`),
  evaluate: (attrs, args) => [kept(attrs, args)],
  vjp: ({ alg, attrs, args: [, seed, keys], cts: [ct] }) => [
    () => alg.dropout(attrs, ct!, seed!, keys!),
    null,
    null,
  ],
  flops: count,
  overwrites: [0],
  examples: [
    {
      attrs: { rate: 0, salt: 1 },
      args: [
        ['f32[2, 1]', [1, 2]],
        ['i32[]', [9]],
        ['i32[2]', [5, -6]],
      ],
      outs: [['f32[2, 1]', [1, 2]]],
    },
  ],
})
