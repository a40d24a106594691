/** Products of a handful of rows with 4-bit weights, run on a CPU by fibers, against the definitions of what they fuse. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { fewPlan } from '../backends/cuda/kernels/few-plan.ts'
import { few, fewLow, fewWorkspaceBytes } from '../backends/cuda/kernels/few.ts'
import { wide, widePlan, wideWorkspaceBytes } from '../backends/cuda/kernels/wide.ts'
import { dequantize, quantize } from '../ir/nf4.ts'
import { round } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { bytes, tensor, type DType, type Float, type TensorType } from '../ir/type.ts'
import type { Rows } from '../backends/cuda/kernels/card.ts'
import { makeArena } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { apply, t } from './op-cases.ts'

const { normal } = generator(5)
const halves = ['bf16', 'f16'] as const
/** What rounding once may be off by, relative. */
const unit = { bf16: 2 ** -8, f16: 2 ** -11 }

const encoded = (dtype: DType, rows: number, width: number) => {
  const type = { dtype, shape: [rows, width] } as TensorType
  const x = Float32Array.from(normal(tensor('f32', rows, width), 0.02).data)
  const data = new Uint8Array(bytes(type))
  quantize(x, type, data)
  const exact = t(tensor('f32', rows, width), dequantize(type, data))
  return { type, data, exact }
}
const rounded = (dtype: Float, x: Tensor): Tensor =>
  t({ ...x.type, dtype } as TensorType, x.data.map(round[dtype as 'f32']))
const dot = (a: Tensor, b: Tensor): Tensor => apply('dot', { ta: false, tb: true }, a, b)[0]!
const as = (dtype: Float, x: Tensor): Tensor => t({ ...x.type, dtype } as TensorType, x.data)
const absolute = (x: Tensor): Tensor => t(x.type, x.data.map(Math.abs))

/** Codebook values and the result are rounded once each; sums are f32. `magnitude`: what the terms add up to without their signs. */
const within = (
  what: string,
  dtype: 'bf16' | 'f16',
  got: ArrayLike<number>,
  want: ArrayLike<number>,
  magnitude: ArrayLike<number>,
): void => {
  assert.equal(got.length, want.length, what)
  for (let i = 0; i < want.length; i++) {
    const bound = unit[dtype] * (1.01 * Math.abs(want[i]!) + magnitude[i]!) + 1e-5 * magnitude[i]!
    const gap = Math.abs(got[i]! - want[i]!)
    assert.ok(gap <= bound, `${what}[${i}]: ${got[i]} for ${want[i]}, ${gap} off, ${bound} allowed`)
  }
}

const room = { sms: 3, shared: 101376 }

describe('few rows on fibers', { skip: noCompiler }, () => {
  for (const dtype of halves)
    for (const [rows, k, heights, encoding, shared] of [
      [1, 64, [5], 'nf4/64', 101376],
      [1, 1344, [100, 16, 33], 'nf4/64/256', 101376],
      [3, 448, [40, 17], 'nf4/64/256', 101376],
      [8, 256, [70], 'nf4/64', 101376],
      [9, 704, [33, 32], 'nf4/64/256', 101376],
      [32, 640, [48, 5], 'nf4/64/256', 101376],
      // The inner dimension in parts, the last one shorter.
      [17, 1344, [40, 9, 16], 'nf4/64/256', 65536],
      [2, 704, [20], 'nf4/64/256', 35400],
    ] as const)
      test(`${dtype}: ${rows} × ${k} with ${heights.join(' + ')} of ${encoding}, ${shared} bytes shared`, () => {
        const arena = makeArena()
        const matrices = heights.map((n) => encoded(encoding, n, k))
        const x = normal(tensor(dtype, rows, k))
        const ranks = heights.map((_, i) => [4, 0, 3][i]!)
        const b = heights.map((n, i) => normal(tensor('f32', n, Math.max(1, ranks[i]!)), 0.1))
        const u = normal(tensor(dtype, rows, 7))
        const residual = heights.length === 1 ? normal(tensor(dtype, rows, heights[0]!)) : null
        const outs = heights.map((n, i) =>
          residual !== null && i === 0
            ? arena.mayWrite(arena.put(residual, 8))
            : arena.out(tensor(dtype, rows, n), 3),
        )
        const plan = fewPlan({ rows, k, pair: false }, { ...room, shared })!
        assert.equal(plan.parts > 0, rows > 16 || shared < 101376)
        const shape = { rows, k, pair: false }
        arena.run(
          few({
            ...shape,
            plan,
            room,
            dtype,
            x: arena.put(x, 8),
            norm: null,
            after: null,
            residual: residual === null ? null : outs[0]!,
            low: arena.put(u),
            workspace: arena.scratch(fewWorkspaceBytes(shape, plan, matrices)),
            matrices: matrices.map((m, i) => ({
              type: m.type,
              offset: arena.put({ type: m.type, data: m.data }).offset,
              out: outs[i]!,
              adapter:
                ranks[i] === 0
                  ? null
                  : { b: arena.put(b[i]!).offset, rank: ranks[i]!, column: i === 0 ? 0 : 4 },
            })),
          }),
        )
        heights.forEach((n, i) => {
          const base = dot(as('f32', x), matrices[i]!.exact).data
          const size = dot(absolute(as('f32', x)), absolute(matrices[i]!.exact)).data
          const want = base.map((v, at) => {
            const [r, c] = [Math.floor(at / n), at % n]
            let low = residual === null ? 0 : residual.data[at]!
            for (let j = 0; j < ranks[i]!; j++)
              low +=
                u.data[r * 7 + (i === 0 ? 0 : 4) + j]! *
                round[dtype](b[i]!.data[c * Math.max(1, ranks[i]!) + j]!)
            return v + low
          })
          within(`matrix ${i}`, dtype, arena.get(outs[i]!), want, size)
        })
      })

  for (const dtype of halves)
    for (const [rows, k, n, shared, normed] of [
      [1, 32, 5, 101376, false],
      [1, 1696, 70, 101376, true],
      [3, 160, 33, 101376, true],
      [12, 416, 40, 101376, false],
      // In parts, the last one shorter.
      [25, 1056, 19, 32768, false],
    ] as const)
      test(`${dtype}: ${rows} × ${k} with ${n} rows of 16 bit, ${shared} bytes shared`, () => {
        const arena = makeArena()
        const shape = { rows, k }
        const [x, w] = [normal(tensor(dtype, rows, k)), normal(tensor(dtype, k))]
        const weights = normal(tensor(dtype, n, k), 0.02)
        const residual = normal(tensor(dtype, rows, n))
        const out = arena.mayWrite(arena.put(residual, 3))
        const plan = widePlan(shape, { ...room, shared })!
        assert.equal(plan.parts > 1, shared < 101376)
        arena.run(
          wide({
            ...shape,
            plan,
            room,
            dtype,
            n,
            weights: arena.put(weights),
            x: arena.put(x, 8),
            norm: normed ? { w: arena.put(w).offset, eps: 1e-5 } : null,
            residual: out,
            out,
            workspace: arena.scratch(wideWorkspaceBytes(shape, plan, n)),
          }),
        )
        const h = normed ? rounded(dtype, apply('rmsNorm', { eps: 1e-5 }, x, w)[0]!) : x
        const exact = dot(h, weights).data
        const size = dot(absolute(h), absolute(weights)).data
        const want = exact.map((v, i) => v + residual.data[i]!)
        // A norm may round the other way where it lies between two numbers.
        within(
          'wide',
          dtype,
          arena.get(out),
          want,
          size.map((v) => v * (normed ? 1 : 0.01)),
        )
      })

  for (const dtype of halves)
    test(`${dtype}: a norm before, and the swiglu of two behind`, () => {
      for (const [rows, k, n] of [
        [1, 448, 37],
        [5, 128, 64],
      ] as const) {
        const arena = makeArena()
        const [gate, up] = [encoded('nf4/64/256', n, k), encoded('nf4/64/256', n, k)]
        const [x, w] = [normal(tensor(dtype, rows, k)), normal(tensor(dtype, k))]
        const out = arena.out(tensor(dtype, rows, n), 8)
        const plan = fewPlan({ rows, k, pair: true }, room)!
        arena.run(
          few({
            rows,
            k,
            pair: true,
            plan,
            room,
            dtype,
            x: arena.put(x, 8),
            norm: { w: arena.put(w).offset, eps: 1e-5 },
            after: null,
            residual: null,
            low: null,
            workspace: 0,
            matrices: [gate, up].map((m) => ({
              type: m.type,
              offset: arena.put({ type: m.type, data: m.data }).offset,
              out,
              adapter: null,
            })),
          }),
        )
        const h = as('f32', rounded(dtype, apply('rmsNorm', { eps: 1e-5 }, x, w)[0]!))
        const [g, v] = [dot(h, gate.exact), dot(h, up.exact)]
        const want = apply('swiglu', {}, g, v)[0]!.data
        const sizes = [gate, up].map((m) => dot(absolute(h), absolute(m.exact)).data)
        // Both factors are off by their rounding and their codebooks'; the slope of silu is at most 1.1.
        const room2 = want.map(
          (_, i) =>
            1.1 * (sizes[0]![i]! + Math.abs(g.data[i]!)) * Math.abs(v.data[i]!) * 1.1 +
            (sizes[1]![i]! + Math.abs(v.data[i]!)) * Math.abs(g.data[i]!) * 1.1 +
            2 ** -6 * sizes[0]![i]! * sizes[1]![i]!,
        )
        within('swiglu', dtype, arena.get(out), want, room2)
      }
    })

  test('warps may run far ahead of each other', () => {
    const [rows, k, n] = [2, 1344, 300]
    const matrix = encoded('nf4/64/256', n, k)
    const x = normal(tensor('bf16', rows, k))
    const made = [{}, { SKEW: 400 }, { SKEW: 400, LAST_FIRST: 1 }].map((order) => {
      const arena = makeArena()
      const out = arena.out(tensor('bf16', rows, n))
      const type = matrix.type
      const launches = few({
        rows,
        k,
        pair: false,
        plan: fewPlan({ rows, k, pair: false }, room)!,
        room,
        dtype: 'bf16',
        x: arena.put(x),
        norm: null,
        after: null,
        residual: null,
        low: null,
        workspace: 0,
        matrices: [{ type, offset: arena.put(matrix).offset, out, adapter: null }],
      })
      assert.ok(Math.ceil(n / 16) > 3 * launches[0]!.grid[0])
      arena.run(
        launches.map((l) => ({
          ...l,
          kernel: { ...l.kernel, defines: { ...l.kernel.defines, ...order } },
        })),
      )
      return arena.raw(out)
    })
    for (const other of made.slice(1)) assert.deepEqual(other, made[0])
  })

  for (const dtype of halves)
    test(`${dtype}: in parts, the swiglu of two and a sum with its norm`, () => {
      const [rows, k, n] = [20, 192, 37]
      const arena = makeArena()
      const [gate, up] = [encoded('nf4/64', n, k), encoded('nf4/64', n, k)]
      const [x, w] = [normal(tensor(dtype, rows, k)), normal(tensor(dtype, n))]
      const residual = normal(tensor(dtype, rows, n))
      const [product, out, normed] = [0, 3, 5].map((gap) => arena.out(tensor(dtype, rows, n), gap))
      const shape = { rows, k, dtype, room, x: arena.put(x, 8), norm: null, low: null }
      const matrix = (m: typeof gate, to: Rows) => ({
        type: m.type,
        offset: arena.put({ type: m.type, data: m.data }).offset,
        out: to,
        adapter: null,
      })
      for (const [pair, matrices] of [
        [true, [gate, up]],
        [false, [gate]],
      ] as const) {
        const plan = { ...fewPlan({ rows, k, pair }, room)!, parts: 3, per: 1, warps: 1 }
        arena.run(
          few({
            ...shape,
            pair,
            plan,
            matrices: matrices.map((m) => matrix(m, pair ? product! : out!)),
            residual: pair ? null : arena.put(residual),
            after: pair ? null : { w: arena.put(w).offset, eps: 1e-5, out: normed! },
            workspace: arena.scratch(fewWorkspaceBytes({ ...shape, pair }, plan, matrices)),
          }),
        )
      }
      const wide = as('f32', x)
      const [g, v] = [dot(wide, gate.exact), dot(wide, up.exact)]
      const sizes = [gate, up].map((m) => dot(absolute(wide), absolute(m.exact)).data)
      within(
        'swiglu',
        dtype,
        arena.get(product!),
        apply('swiglu', {}, g, v)[0]!.data,
        g.data.map(
          (a, i) =>
            1.1 * (sizes[0]![i]! + Math.abs(a)) * (Math.abs(v.data[i]!) + 1) * 1.1 +
            (sizes[1]![i]! + Math.abs(v.data[i]!)) * (Math.abs(a) + 1) * 1.1,
        ),
      )
      const total = g.data.map((a, i) => a + residual.data[i]!)
      within('sum', dtype, arena.get(out!), total, sizes[0]!)
      const stored = t(tensor(dtype, rows, n), arena.get(out!))
      const want = apply('rmsNorm', { eps: 1e-5 }, stored, w)[0]!.data
      within('norm', dtype, arena.get(normed!), want, want.map(Math.abs))
    })

  for (const dtype of halves)
    for (const normed of [false, true])
      test(`${dtype}: low-rank columns side by side${normed ? ', normed' : ''}`, () => {
        const [rows, k] = [3, 448]
        const arena = makeArena()
        const [x, w] = [normal(tensor(dtype, rows, k)), normal(tensor(dtype, k))]
        const ranks = [2, 5, 1]
        const a = ranks.map((r) => normal(tensor('f32', r, k), 0.05))
        const out = arena.out(tensor(dtype, rows, 8))
        arena.run(
          fewLow({
            rows,
            k,
            dtype,
            plan: fewPlan({ rows, k, pair: false }, room)!,
            x: arena.put(x, 8),
            norm: normed ? { w: arena.put(w).offset, eps: 1e-5 } : null,
            adapters: a.map((m, i) => ({ a: arena.put(m).offset, rank: ranks[i]!, by: 2 ** i })),
            out,
          }),
        )
        const h = normed ? rounded(dtype, apply('rmsNorm', { eps: 1e-5 }, x, w)[0]!) : x
        const parts = a.map((m, i) => {
          const small = as('f32', rounded(dtype, m))
          const low = dot(as('f32', h), small)
          const size = dot(absolute(as('f32', h)), absolute(small))
          return { by: 2 ** i, rank: ranks[i]!, low, size }
        })
        const lay = (f: (p: (typeof parts)[number], at: number) => number) =>
          Float64Array.from({ length: rows * 8 }, (_, at) => {
            const [r, c] = [Math.floor(at / 8), at % 8]
            const i = c < 2 ? 0 : c < 7 ? 1 : 2
            return f(parts[i]!, r * ranks[i]! + c - [0, 2, 7][i]!)
          })
        const want = lay((p, at) => p.by * p.low.data[at]!)
        within(
          'low',
          dtype,
          arena.get(out),
          want,
          // The kernel does not round a normed row, the definition does.
          lay((p, at) => p.by * (Math.abs(p.low.data[at]!) + (normed ? p.size.data[at]! : 0))),
        )
      })
})
