/** The CUDA kernels of attention and caches, run on a CPU by fibers, against the definitions. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import * as attend from '../backends/cuda/kernels/attention.ts'
import * as fast from '../backends/cuda/kernels/attention-fast.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { tensor, type Float } from '../ir/type.ts'
import { close, makeArena } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { apply, t } from './op-cases.ts'

const floats: ReadonlyArray<Float> = ['f32', 'bf16', 'f16']
const { ints, normal, uniform } = generator(23)

/** Samples packed into rows: ids that grow along a row; some rows end in padding of its own id. */
const segmentsOf = (rows: number, length: number): Tensor => {
  let id = 0
  return t(
    tensor('i32', rows, length),
    Array.from({ length: rows * length }, (_, i) => {
      if (i % length === 0 || uniform() < 0.06) id++
      return id
    }),
  )
}
/** What the definition leaves when its results are stored. */
const stored = (x: Tensor): Tensor => t(x.type, x.data.map(round[x.type.dtype as Float]))

describe('attention kernels on fibers', { skip: noCompiler }, () => {
  const attentions = [
    { rows: 2, length: 70, heads: 4, kvHeads: 2, dim: 16 },
    { rows: 1, length: 33, heads: 2, kvHeads: 2, dim: 10 },
    { rows: 3, length: 5, heads: 3, kvHeads: 1, dim: 40 },
    { rows: 1, length: 2, heads: 1, kvHeads: 1, dim: 1000 },
  ]
  for (const dtype of floats)
    for (const d of attentions)
      test(`attention ${dtype} ${d.rows}×${d.length}, heads of ${d.dim}`, () => {
        const arena = makeArena()
        const [heads, kvHeads, n] = [d.heads, d.kvHeads, d.rows * d.length]
        const [wide, narrow] = [heads * d.dim, kvHeads * d.dim]
        const q = normal(tensor(dtype, n, wide))
        const [k, v] = [normal(tensor(dtype, n, narrow)), normal(tensor(dtype, n, narrow))]
        const [seg, ct] = [segmentsOf(d.rows, d.length), normal(tensor(dtype, n, wide))]
        const exact = apply('attention', { heads, kvHeads }, q, k, v, seg)
        const [out, lse] = exact.map(stored)
        const grads = apply('attentionGrad', { heads, kvHeads }, q, k, v, seg, out!, lse!, ct)
        const o = {
          ...d,
          dtype,
          q: arena.put(q, 8),
          k: arena.put(k, 3),
          v: arena.put(v),
          segments: arena.put(seg).offset,
          out: arena.out(q.type, 1),
        }
        const l = arena.out(tensor('f32', n, heads))
        arena.run(attend.attention({ ...o, lse: l.offset }))
        close('out', arena.get(o.out), exact[0]!.data, dtype, 1e-5)
        close('lse', arena.get(l), lse!.data, 'f32', 1e-6)
        const [dq, dk, dv] = [arena.out(q.type, 2), arena.out(k.type), arena.out(v.type, 8)]
        const workspace = arena.scratch(attend.attentionGradWorkspaceBytes(o))
        // The gradient reads the stored output, so it gets the definition's.
        const given = { out: arena.put(out!), lse: arena.put(lse!).offset, ct: arena.put(ct, 5) }
        arena.run(attend.attentionGrad({ ...o, ...given, dq, dk, dv, workspace }))
        close('dq', arena.get(dq), grads[0]!.data, dtype, 2e-5)
        close('dk', arena.get(dk), grads[1]!.data, dtype, 2e-5)
        close('dv', arena.get(dv), grads[2]!.data, dtype, 2e-5)
      })

  const fastShapes = [
    { rows: 2, length: 150, heads: 4, kvHeads: 2, dim: 32 },
    { rows: 1, length: 200, heads: 2, kvHeads: 1, dim: 64 },
    { rows: 1, length: 130, heads: 1, kvHeads: 1, dim: 128 },
    { rows: 1, length: 70, heads: 2, kvHeads: 2, dim: 96 },
    { rows: 3, length: 40, heads: 2, kvHeads: 2, dim: 16 },
  ]
  const hopperShapes = [
    { rows: 2, length: 300, heads: 4, kvHeads: 2, dim: 64 },
    { rows: 1, length: 260, heads: 2, kvHeads: 1, dim: 128 },
    { rows: 2, length: 20, heads: 1, kvHeads: 1, dim: 128 },
  ]
  for (const [target, dtype] of [
    [80, 'bf16'],
    [75, 'f16'],
    ['90a', 'bf16'],
    ['90a', 'f16'],
  ] as const)
    for (const d of target === '90a' ? hopperShapes : fastShapes)
      test(`tensor cores ${target} ${dtype} ${d.rows}×${d.length}, heads of ${d.dim}`, () => {
        const arena = makeArena(1 << 23)
        const [heads, kvHeads, n] = [d.heads, d.kvHeads, d.rows * d.length]
        const q = normal(tensor(dtype, n, heads * d.dim))
        const [k, v] = [
          normal(tensor(dtype, n, kvHeads * d.dim)),
          normal(tensor(dtype, n, kvHeads * d.dim)),
        ]
        const [seg, ct] = [segmentsOf(d.rows, d.length), normal(q.type)]
        const exact = apply('attention', { heads, kvHeads }, q, k, v, seg)
        const [out, lse] = exact.map(stored)
        const grads = apply('attentionGrad', { heads, kvHeads }, q, k, v, seg, out!, lse!, ct)
        const angle = normal(tensor('f32', n, d.dim / 2))
        const [cos, sin] = [Math.cos, Math.sin].map((f) => stored(t(angle.type, angle.data.map(f))))
        const turned = (x: Tensor) => apply('rope', { inverse: true }, x, cos!, sin!)[0]!
        const engine = fast.engineOf({ ...d, dtype }, target)!
        const ranges = arena.scratch(fast.rangesBytes({ ...d, dtype }))
        const o = {
          ...d,
          dtype,
          ranges,
          q: arena.put(q, 8),
          k: arena.put(k, 16),
          v: arena.put(v),
          segments: arena.put(seg).offset,
          out: arena.out(q.type, 8),
        }
        const [l, again] = [arena.out(tensor('f32', n, heads)), arena.out(q.type, 8)]
        arena.run([
          fast.segmentRanges(o),
          ...fast.attentionOn(engine, { ...o, lse: l.offset }),
          // Again over the same counter, as the next layer does.
          ...fast.attentionOn(engine, { ...o, out: again, lse: l.offset }),
        ])
        // Weights are rounded before they meet the values: half a unit of each, of a sum that is 1 in all.
        assert.deepEqual(arena.get(again), arena.get(o.out))
        const slack = dtype === 'bf16' ? 2 ** -8 : 2 ** -10
        close('out', arena.get(o.out), exact[0]!.data, dtype, slack)
        close('lse', arena.get(l), lse!.data, 'f32', 2e-6)
        const [dq, dk, dv] = [arena.out(q.type, 8), arena.out(k.type), arena.out(v.type, 8)]
        const workspace = arena.scratch(fast.statBytes(o))
        const given = { out: arena.put(out!), lse: arena.put(lse!).offset, ct: arena.put(ct, 8) }
        const turn = { cos: arena.put(cos!).offset, sin: arena.put(sin!).offset }
        arena.run(fast.attentionGradOn(engine, { ...o, ...given, dq, dk, dv, workspace, turn }))
        close('dq', arena.get(dq), turned(grads[0]!).data, dtype, slack)
        close('dk', arena.get(dk), turned(grads[1]!).data, dtype, slack)
        close('dv', arena.get(dv), grads[2]!.data, dtype, slack)
      })

  test('caches', () => {
    for (const dtype of floats)
      for (const [batch, length, capacity, heads, kvHeads, dim] of [
        [2, 3, 150, 4, 2, 16],
        [1, 1, 7, 3, 1, 10],
        [3, 2, 300, 2, 2, 70],
      ] as const) {
        const arena = makeArena()
        const [tokens, width] = [batch * length, kvHeads * dim]
        const cache = normal(tensor(dtype, batch, capacity, width))
        const other = normal(cache.type)
        const x = normal(tensor(dtype, tokens, width))
        const at = ints(tensor('i32', batch, length), -1, capacity + 2)
        // Two tokens of a row at one position: the later one stays.
        if (length > 1) at.data[1] = at.data[0]!
        const k = arena.mayWrite(arena.put(cache))
        const positions = arena.put(at).offset
        const dims = { batch, length, capacity, dtype, positions }
        arena.run(attend.cacheWrite({ ...dims, cache: k.offset, x: arena.put(x, 4), width }))
        const [written] = apply('cacheWrite', {}, cache, x, at)
        assert.deepEqual(arena.get(k), written!.data)
        const q = normal(tensor(dtype, tokens, heads * dim))
        const out = arena.out(q.type, 1)
        const v = arena.put(other).offset
        arena.run(
          attend.cachedAttention({
            ...dims,
            q: arena.put(q, 3),
            k: k.offset,
            v,
            out,
            heads,
            kvHeads,
            dim,
          }),
        )
        const [want] = apply('cachedAttention', { heads, kvHeads }, q, written!, other, at)
        close('cachedAttention', arena.get(out), want!.data, dtype, 1e-5)
      }
  })
})
