/** Generation: keys and values of earlier tokens are kept in a cache of fixed capacity. */
import * as t from 'io-ts'
import type { Heads } from '../algebra.ts'
import { dim, op, values, type Op } from '../op.ts'
import { equals, fail, isFloat, ok, show, size } from '../type.ts'
import { none, type None } from '../typing.ts'

export const cacheWrite: Op<None> = op({
  doc: 'Writes the rows of x into a cache [B, C, d] at their positions i32[B, T]; a position outside the cache is dropped.',
  arity: 3,
  attrs: none,
  infer: (_, [cache, x, positions]) =>
    cache === undefined || x === undefined || positions === undefined || cache.shape.length !== 3
      ? fail('cacheWrite takes a cache [B, C, d], rows [B·T, d] and positions [B, T]')
      : x.dtype === cache.dtype &&
          x.shape.length === 2 &&
          x.shape[1] === cache.shape[2] &&
          positions.dtype === 'i32' &&
          positions.shape.length === 2 &&
          positions.shape[0] === cache.shape[0] &&
          size(positions) === x.shape[0]
        ? ok(cache)
        : fail(`cacheWrite: ${show(x)} at ${show(positions)} into ${show(cache)}`),
  evaluate: (_, args) => {
    const [x, at] = [values(args, 1), values(args, 2)]
    const [capacity, d, len] = [dim(args, 0, 1), dim(args, 0, 2), dim(args, 2, 1)]
    const r = values(args, 0).slice()
    at.forEach((p, i) => {
      if (p >= 0 && p < capacity)
        r.set(x.subarray(i * d, (i + 1) * d), (Math.floor(i / len) * capacity + p) * d)
    })
    return [r]
  },
  vjp: null,
  flops: () => 0,
  overwrites: [0],
  examples: [
    {
      attrs: {},
      args: [
        ['f32[1, 3, 1]', [1, 2, 3]],
        ['f32[1, 1]', [9]],
        ['i32[1, 1]', [1]],
      ],
      outs: [['f32[1, 3, 1]', [1, 9, 3]]],
    },
  ],
})

export const cachedAttention: Op<Heads> = op({
  doc: 'Attention of q over caches of keys and values [B, C, d]: a token at position p sees entries 0…p of its own row.',
  arity: 4,
  attrs: t.strict({ heads: t.number, kvHeads: t.number }),
  infer: (a, [q, k, v, positions]) =>
    q === undefined || k === undefined || v === undefined || positions === undefined
      ? fail('cachedAttention takes q, two caches and positions')
      : isFloat(q.dtype) &&
          q.shape.length === 2 &&
          k.dtype === q.dtype &&
          equals(k, v) &&
          k.shape.length === 3 &&
          positions.dtype === 'i32' &&
          positions.shape.length === 2 &&
          size(positions) === q.shape[0] &&
          positions.shape[0] === k.shape[0] &&
          q.shape[1]! * a.kvHeads === k.shape[2]! * a.heads
        ? ok(q)
        : fail(`cachedAttention: ${show(q)} over ${show(k)} at ${show(positions)}`),
  evaluate: (a, args) => {
    const [q, k, v, at] = [values(args, 0), values(args, 1), values(args, 2), values(args, 3)]
    const [capacity, width, len] = [dim(args, 1, 1), dim(args, 1, 2), dim(args, 3, 1)]
    const d = width / a.kvHeads
    const r = new Float64Array(q.length)
    for (let i = 0; i < at.length; i++)
      for (let h = 0; h < a.heads; h++) {
        const qi = (i * a.heads + h) * d
        const base =
          Math.floor(i / len) * capacity * width + Math.floor((h * a.kvHeads) / a.heads) * d
        const scores = Array.from({ length: Math.min(capacity, at[i]! + 1) }, (_, j) => {
          let s = 0
          for (let c = 0; c < d; c++) s += q[qi + c]! * k[base + j * width + c]!
          return s / Math.sqrt(d)
        })
        const top = scores.reduce((x, y) => Math.max(x, y), -Infinity)
        const weights = scores.map((s) => Math.exp(s - top))
        const total = weights.reduce((x, y) => x + y, 0)
        weights.forEach((w, j) => {
          for (let c = 0; c < d; c++) r[qi + c]! += (w / total) * v[base + j * width + c]!
        })
      }
    return [r]
  },
  vjp: null,
  flops: (_, [q, k]) => 4 * size(q!) * k!.shape[1]!,
  examples: [
    {
      attrs: { heads: 1, kvHeads: 1 },
      args: [
        ['f32[1, 1]', [0]],
        ['f32[1, 3, 1]', [0, 0, 0]],
        ['f32[1, 3, 1]', [1, 3, 100]],
        ['i32[1, 1]', [1]],
      ],
      outs: [['f32[1, 1]', [2]]],
    },
  ],
})
