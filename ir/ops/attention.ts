/** Attention over packed rows, its gradient, and attention over a cache for generation. */
import * as t from 'io-ts'
import type { Heads } from '../algebra.ts'
import { dim, lazy, op, values, type Op, type Tensor } from '../op.ts'
import {
  equals,
  fail,
  isFloat,
  ok,
  show,
  size,
  tensor,
  type TensorType,
  type Typing,
} from '../type.ts'

const heads = t.strict({ heads: t.number, kvHeads: t.number })

const typeQkv = (
  { heads: h, kvHeads }: Heads,
  [q, k, v, grid]: ReadonlyArray<TensorType>,
): string | null => {
  if (q === undefined || k === undefined || v === undefined || grid === undefined)
    return 'attention takes q, k, v and segments'
  if (!isFloat(q.dtype) || k.dtype !== q.dtype || !equals(k, v))
    return `attention: q ${show(q)}, k ${show(k)}, v ${show(v)}`
  if (q.shape.length !== 2 || k.shape.length !== 2)
    return `attention takes matrices, got q ${show(q)} and k ${show(k)}`
  if (h % kvHeads !== 0) return `attention: ${h} heads in ${kvHeads} groups`
  if (q.shape[1]! % h !== 0 || q.shape[1]! / h !== k.shape[1]! / kvHeads)
    return `attention: ${show(q)} in ${h} heads, ${show(k)} in ${kvHeads}`
  if (grid.dtype !== 'i32' || grid.shape.length !== 2 || size(grid) !== q.shape[0])
    return `attention: segments ${show(grid)} for ${show(q)}`
  return k.shape[0] === q.shape[0] ? null : `attention: ${show(q)} and ${show(k)} differ in tokens`
}

/** Calls `visit` for every query row and head with the keys it may see: same row, same segment, not later. */
const scan = (
  a: Heads,
  args: ReadonlyArray<Tensor>,
  visit: (
    q: number,
    head: number,
    keys: ReadonlyArray<number>,
    scores: ReadonlyArray<number>,
  ) => void,
): void => {
  const [q, k, seg] = [values(args, 0), values(args, 1), values(args, 3)]
  const [n, d, len] = [dim(args, 0, 0), dim(args, 0, 1) / a.heads, dim(args, 3, 1)]
  const kvWidth = d * a.kvHeads
  for (let i = 0; i < n; i++) {
    const keys: number[] = []
    for (let j = i - (i % len); j <= i; j++) if (seg[j] === seg[i]) keys.push(j)
    for (let h = 0; h < a.heads; h++) {
      const kv = Math.floor(h / (a.heads / a.kvHeads))
      const scores = keys.map((j) => {
        let s = 0
        for (let c = 0; c < d; c++)
          s += q[i * d * a.heads + h * d + c]! * k[j * kvWidth + kv * d + c]!
        return s / Math.sqrt(d)
      })
      visit(i, h, keys, scores)
    }
  }
}

const logSumExp = (xs: ReadonlyArray<number>): number => {
  const m = xs.reduce((a, b) => Math.max(a, b), -Infinity)
  return m + Math.log(xs.reduce((s, x) => s + Math.exp(x - m), 0))
}

const attentionFlops =
  (passes: number) =>
  (_: Heads, [q, , , grid]: ReadonlyArray<TensorType>) =>
    // Two products a pass over the causal half of T keys.
    (passes * 2 * size(q!) * grid!.shape[1]!) / 2

export const attention: Op<Heads> = op({
  doc: 'Causal softmax(q·kᵀ/√d)·v within each segment of each row, grouped heads; also the log-sum-exp of each query and head.',
  arity: 4,
  attrs: heads,
  infer: (a, args): Typing => {
    const why = typeQkv(a, args)
    return why === null ? ok(args[0]!, tensor('f32', args[0]!.shape[0]!, a.heads)) : fail(why)
  },
  evaluate: (a, args, [out, lse]) => {
    const v = values(args, 2)
    const [o, l] = [new Float64Array(size(out!)), new Float64Array(size(lse!))]
    const d = dim(args, 0, 1) / a.heads
    scan(a, args, (i, h, keys, scores) => {
      const z = logSumExp(scores)
      l[i * a.heads + h] = z
      const kv = Math.floor(h / (a.heads / a.kvHeads))
      keys.forEach((j, at) => {
        const p = Math.exp(scores[at]! - z)
        for (let c = 0; c < d; c++)
          o[(i * a.heads + h) * d + c]! += p * v[(j * a.kvHeads + kv) * d + c]!
      })
    })
    return [o, l]
  },
  vjp: ({ alg, attrs, args, outs, cts: [ct, ctLse] }) => {
    // Nothing differentiates through the log-sum-exp; it exists for the gradient op.
    if (ct === null || ct === undefined || (ctLse !== null && ctLse !== undefined))
      return [null, null, null, null]
    const grad = lazy(() => alg.attentionGrad(attrs, [...args, outs[0]!, outs[1]!, ct]))
    return [() => grad()[0], () => grad()[1], () => grad()[2], null]
  },
  flops: attentionFlops(2),
  examples: [
    {
      attrs: { heads: 1, kvHeads: 1 },
      args: [
        ['f32[2, 1]', [1, 1]],
        ['f32[2, 1]', [0, 0]],
        ['f32[2, 1]', [2, 4]],
        ['i32[1, 2]', [1, 1]],
      ],
      outs: [
        ['f32[2, 1]', [2, 3]],
        ['f32[2, 1]', [0, Math.fround(Math.log(2))]],
      ],
    },
  ],
})

export const attentionGrad: Op<Heads> = op({
  doc: 'Gradients of `attention` by q, k and v from (q, k, v, segments, out, lse, cotangent); scores are recomputed, never stored (Dao 2023).',
  arity: 7,
  attrs: heads,
  infer: (a, args): Typing => {
    const why = typeQkv(a, args)
    const [q, k, v, , out, lse, ct] = args
    if (why !== null) return fail(why)
    return out !== undefined &&
      ct !== undefined &&
      equals(out, q!) &&
      equals(ct, q!) &&
      lse !== undefined &&
      equals(lse, tensor('f32', q!.shape[0]!, a.heads))
      ? ok(q!, k!, v!)
      : fail('attentionGrad takes the output, its log-sum-exp and a cotangent like q')
  },
  evaluate: (a, args, [tq, tk, tv]) => {
    const [q, k, v] = [values(args, 0), values(args, 1), values(args, 2)]
    const [out, lse, ct] = [values(args, 4), values(args, 5), values(args, 6)]
    const [dq, dk, dv] = [tq, tk, tv].map((x) => new Float64Array(size(x!))) as [
      Float64Array,
      Float64Array,
      Float64Array,
    ]
    const d = dim(args, 0, 1) / a.heads
    scan(a, args, (i, h, keys, scores) => {
      const [qi, kv] = [(i * a.heads + h) * d, Math.floor(h / (a.heads / a.kvHeads))]
      let delta = 0
      for (let c = 0; c < d; c++) delta += ct[qi + c]! * out[qi + c]!
      keys.forEach((j, at) => {
        const kj = (j * a.kvHeads + kv) * d
        const p = Math.exp(scores[at]! - lse[i * a.heads + h]!)
        let dp = 0
        for (let c = 0; c < d; c++) dp += ct[qi + c]! * v[kj + c]!
        const ds = (p * (dp - delta)) / Math.sqrt(d)
        for (let c = 0; c < d; c++) {
          dq[qi + c]! += ds * k[kj + c]!
          dk[kj + c]! += ds * q[qi + c]!
          dv[kj + c]! += p * ct[qi + c]!
        }
      })
    })
    return [dq, dk, dv]
  },
  vjp: null,
  flops: attentionFlops(5),
  examples: [
    {
      attrs: { heads: 1, kvHeads: 1 },
      args: [
        ['f32[1, 1]', [1]],
        ['f32[1, 1]', [1]],
        ['f32[1, 1]', [3]],
        ['i32[1, 1]', [1]],
        ['f32[1, 1]', [3]],
        ['f32[1, 1]', [1]],
        ['f32[1, 1]', [5]],
      ],
      outs: [
        ['f32[1, 1]', [0]],
        ['f32[1, 1]', [0]],
        ['f32[1, 1]', [5]],
      ],
    },
  ],
})
