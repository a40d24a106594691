/** Kernels of 8-bit floats on a CPU, byte for byte what ir/number.ts makes of each element. */
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import {
  columnScales,
  rowScales,
  toFloat8,
  toFloat8Turned,
} from '../backends/cuda/kernels/nf4-float8.ts'
import * as elementwise from '../backends/cuda/kernels/elementwise.ts'
import * as card from '../backends/cuda/kernels/float8.ts'
import * as fused from '../backends/cuda/kernels/float8-rows.ts'
import * as norm from '../backends/cuda/kernels/norm.ts'
import { dequantize, quantize } from '../ir/nf4.ts'
import { fromFloat8, round, scaleFloat8, toFloat8 as code, type Float8 } from '../ir/number.ts'
import type { Tensor } from '../ir/op.ts'
import { bytes, tensor, type Encoded } from '../ir/type.ts'
import { close, makeArena, type Held } from './cuda/arena.ts'
import { noCompiler } from './cuda/emulate.ts'
import { generator } from './cuda/values.ts'
import { t } from './op-cases.ts'

const { normal, ints, uniform } = generator(11)

/** Scale and codes of one line. */
const line = (f: Float8, x: ArrayLike<number>) => {
  const most = Array.from(x, Math.abs).reduce((a, b) => (b > a || Number.isNaN(b) ? b : a), 0)
  const scale = scaleFloat8(f, most)
  return { scale, codes: Array.from(x, (v) => code(f, v / scale)) }
}
const rowsOf = (x: ArrayLike<number>, width: number): ReadonlyArray<ReadonlyArray<number>> =>
  Array.from({ length: x.length / width }, (_, r) =>
    Array.from({ length: width }, (__, c) => x[r * width + c]!),
  )
const turned = (m: ReadonlyArray<ReadonlyArray<number>>) => m[0]!.map((_, c) => m.map((r) => r[c]!))
const wide = (rows: number, columns: number) => tensor('u8', rows, columns)

/** Values whose rows differ much in size, with zeros, ties and what is too small for the format. */
const wild = (x: Tensor, width: number): Tensor => ({
  ...x,
  data: Float64Array.from(x.data, (v, i) =>
    round.f32(
      uniform() < 0.1 ? 0 : v * 2 ** (-20 * uniform() + 30 * (Math.floor(i / width) % 3) - 30),
    ),
  ),
})

describe('8-bit floats', { skip: noCompiler }, () => {
  for (const format of ['e4m3', 'e5m2'] as const)
    for (const dtype of ['bf16', 'f16', 'f32'] as const)
      test(`rows of ${dtype} to ${format}, up to four side by side`, () => {
        for (const [rows, widths, gap] of [
          [3, [8], 0],
          [2, [19, 5], 3],
          [2, [64, 8, 40], 0],
          [1, [2048, 1024, 1024, 31000], 0],
        ] as const) {
          const arena = makeArena()
          const xs = widths.map((w) => {
            const x = wild(normal(tensor(dtype, rows, w)), w)
            return { ...x, data: x.data.map(round[dtype]) }
          })
          const parts = xs.map((x, i) => ({ x: arena.put(x, gap), width: widths[i]! }))
          const width = widths.reduce((a, b) => a + b, 0)
          const [out, scales] = [arena.out(wide(rows, width), gap), arena.out(tensor('f32', rows))]
          arena.run(card.quantizeRows({ parts, out, scales: scales.offset, rows, dtype, format }))
          const lines = Array.from({ length: rows }, (_, r) =>
            line(
              format,
              xs.flatMap((x, i) => rowsOf(x.data, widths[i]!)[r]!),
            ),
          )
          assert.deepEqual(
            [...arena.get(scales)],
            lines.map((l) => l.scale),
          )
          assert.deepEqual(
            [...arena.get(out)],
            lines.flatMap((l) => l.codes),
          )
        }
      })

  test('an infinity or a NaN makes the factor of its row NaN; zeros have the factor 1', () => {
    const arena = makeArena()
    const x = arena.put(
      t(tensor('bf16', 4, 9), [
        ...Array(9).fill(0),
        Infinity,
        ...Array(8).fill(1),
        NaN,
        ...Array(17).fill(2),
      ]),
    )
    const [out, scales] = [arena.out(wide(4, 9)), arena.out(tensor('f32', 4))]
    arena.run(
      card.quantizeRows({
        parts: [{ x, width: 9 }],
        out,
        scales: scales.offset,
        rows: 4,
        dtype: 'bf16',
        format: 'e4m3',
      }),
    )
    assert.deepEqual([...arena.get(scales)], [1, NaN, NaN, 2 ** -7])
  })

  test('columns, turned', () => {
    for (const [rows, width] of [
      [5, 3],
      [70, 40],
    ] as const) {
      const arena = makeArena()
      const x = wild(normal(tensor('f32', rows, width)), width)
      const [out, scales] = [arena.out(wide(width, rows), 8), arena.out(tensor('f32', width))]
      arena.run(
        card.quantizeColumns({
          x: arena.put(x, 1),
          out,
          scales: scales.offset,
          rows,
          width,
          dtype: 'f32',
        }),
      )
      const lines = turned(rowsOf(x.data, width)).map((c) => line('e4m3', c))
      assert.deepEqual(
        [...arena.get(scales)],
        lines.map((l) => l.scale),
      )
      assert.deepEqual(
        [...arena.get(out)],
        lines.flatMap((l) => l.codes),
      )
    }
  })

  const encoded = (dtype: Encoded, rows: number, width: number): Tensor => {
    const type = tensor(dtype, rows, width)
    const data = new Uint8Array(bytes(type))
    const x = wild(normal(tensor('f32', rows, width)), 1)
    quantize(Float32Array.from(x.data), type, data)
    return { type, data }
  }
  for (const [dtype, heights, width] of [
    ['nf4/64/256', [256, 128], 128],
    ['nf4/64/256', [300], 64],
    ['nf4/64/256', [48, 16, 176, 32], 192],
    ['nf4/64/256', [64], 48],
    ['nf4/64', [9, 24], 40],
    ['nf4/7/3', [11], 9],
  ] as const)
    test(`${dtype} [${heights.join(' + ')}, ${width}] to e4m3 by rows, and turned by columns`, () => {
      const arena = makeArena()
      const ws = heights.map((h) => encoded(dtype, h, width))
      const held = ws.map((w) => arena.put(w))
      const values = ws.map((w) =>
        rowsOf(Float64Array.from(dequantize(w.type, w.data as Uint8Array), round.bf16), width),
      )
      const all = values.flat()
      const rows = held.map((h, i) => ({
        type: h.type,
        offset: h.offset,
        scales: arena.out(tensor('f32', heights[i]!)),
        out: arena.out(wide(heights[i]!, width), width % 16 === 0 ? 16 : 3),
      }))
      const columns = arena.out(tensor('f32', width))
      const out = arena.out(wide(width, all.length), all.length % 16 === 0 ? 0 : 1)
      arena.run([
        ...rows.map((r) => rowScales(r, r.scales.offset, 'bf16')),
        columnScales(held, columns.offset, 'bf16'),
        ...toFloat8(
          rows.map((r) => ({ ...r, scales: r.scales.offset })),
          'bf16',
        ),
        ...toFloat8Turned(held, columns.offset, out, 'bf16'),
      ])
      values.forEach((v, i) => {
        const lines = v.map((r) => line('e4m3', r))
        assert.deepEqual(
          [...arena.get(rows[i]!.scales)],
          lines.map((l) => l.scale),
        )
        assert.deepEqual(
          [...arena.get(rows[i]!.out)],
          lines.flatMap((l) => l.codes),
        )
      })
      const lines = turned(all).map((c) => line('e4m3', c))
      assert.deepEqual(
        [...arena.get(columns)],
        lines.map((l) => l.scale),
      )
      assert.deepEqual(
        [...arena.get(out)],
        lines.flatMap((l) => l.codes),
      )
    })

  for (const [width, rows, format] of [
    [64, 3, 'e4m3'],
    [1000, 2, 'e5m2'],
    [11008, 1, 'e4m3'],
  ] as const)
    for (const kept of [true, false])
      test(`rows of ${width} made and quantized at once to ${format}, ${kept ? 'also in 16 bits' : 'in 8 bits alone'}`, () => {
        const arena = makeArena()
        const type = tensor('bf16', rows, width)
        const many = (n: number, gap: number) =>
          Array.from({ length: n }, () => arena.put(normal(type), gap))
        const [a, b, ct, residual] = many(4, 8) as [Held, Held, Held, Held]
        const w = arena.put(normal(tensor('bf16', width)))
        const shape = { rows, width, dtype: 'bf16' } as const
        /** The kernels one after the other that do the same. */
        const apart = (parts: ReadonlyArray<Held>) => {
          const out = arena.out(wide(rows, width * parts.length))
          const scales = arena.out(tensor('f32', rows))
          const launch = card.quantizeRows({
            parts: parts.map((x) => ({ x, width })),
            out,
            scales: scales.offset,
            rows,
            dtype: 'bf16',
            format,
          })
          return { out, scales, launch }
        }
        const at = (parts: number) => ({
          out: arena.out(wide(rows, width * parts), 8),
          scales: arena.out(tensor('f32', rows)),
        })
        const given = (o: ReturnType<typeof at>) => ({
          out: o.out,
          scales: o.scales.offset,
          ...shape,
          format,
        })
        const outs = (n: number) => Array.from({ length: n }, () => arena.out(type, 8))
        const same = (
          together: ReturnType<typeof at>,
          one: ReturnType<typeof apart>,
          pairs: ReadonlyArray<readonly [Held, Held]>,
        ) => {
          assert.deepEqual(arena.raw(together.out), arena.raw(one.out))
          assert.deepEqual(arena.raw(together.scales), arena.raw(one.scales))
          if (kept) for (const [x, y] of pairs) assert.deepEqual(arena.raw(x), arena.raw(y))
        }

        const [h, h8] = outs(2) as [Held, Held]
        const [qh, q8] = [apart([h]), at(1)]
        arena.run([
          elementwise.swiglu({ gate: a, up: b, out: h, ...shape }),
          qh.launch,
          fused.swiglu8({ gate: a, up: b, y: kept ? h8 : null, ...given(q8) }),
        ])
        same(q8, qh, [[h, h8]])

        const [dg, du, dg8, du8] = outs(4) as [Held, Held, Held, Held]
        const [qd, qd8] = [apart([du, dg]), at(2)]
        arena.run([
          elementwise.swigluGrad({ gate: a, up: b, ct, dgate: dg, dup: du, ...shape }),
          qd.launch,
          fused.swigluGrad8({
            gate: a,
            up: b,
            ct,
            grads: kept ? { dgate: dg8, dup: du8 } : null,
            columns: [width, 0],
            ...given(qd8),
          }),
        ])
        same(qd8, qd, [
          [dg, dg8],
          [du, du8],
        ])

        // Sums in another order may round another way: 8 bits are compared with those of the fused kernel's own 16.
        const [y, y8, d, d8] = outs(4) as [Held, Held, Held, Held]
        const [qn, qn8, qg, qg8] = [apart([y8]), at(1), apart([d8]), at(1)]
        const eps = 1e-5
        arena.run([
          norm.rmsNorm({ x: a, w: w.offset, out: y, eps, ...shape }),
          fused.rmsNorm8({ x: a, w: w.offset, y: y8, eps, ...given(qn8) }),
          qn.launch,
          ...(kept ? [] : [fused.rmsNorm8({ x: a, w: w.offset, y: null, eps, ...given(qn8) })]),
          norm.rmsNormGrad({ x: a, w: w.offset, ct, residual, out: d, eps, ...shape }),
          fused.rmsNormGrad8({ x: a, w: w.offset, ct, residual, dx: d8, eps, ...given(qg8) }),
          qg.launch,
        ])
        same(qn8, qn, [])
        same(qg8, qg, [])
        close('norm', arena.get(y8), arena.get(y), 'bf16')
        close('gradient of the norm', arena.get(d8), arena.get(d), 'bf16')
      })

  for (const format of ['e4m3', 'e5m2'] as const)
    test(`the product of ${format} and e4m3, with factors in it or after it`, () => {
      for (const [m, k, n] of [
        [1, 1, 1],
        [70, 33, 67],
      ] as const)
        for (const to of ['bf16', 'f32'] as const)
          for (const add of [false, true]) {
            const arena = makeArena()
            // No code of an infinity or a NaN.
            const [x, w] = [ints(wide(m, k), 0, 0x7c), ints(wide(n, k), 0x80, 0xfc)]
            const powers = (count: number) =>
              t(
                tensor('f32', count),
                Array.from({ length: count }, (_, i) => 2 ** -(10 + (i % 5))),
              )
            const [sx, sw] = [powers(m), powers(n)]
            const c = normal(tensor(to, m, n))
            const [a, b] = [arena.put(x, 3), arena.put(w)]
            const [pa, pb, pc] = [arena.put(sx), arena.put(sw), arena.put(c)]
            const [d, sums, e] = [
              arena.out(tensor(to, m, n)),
              arena.out(tensor('f32', m, n)),
              arena.out(tensor(to, m, n)),
            ]
            const o = { a, b, m, n, k, alpha: 1, beta: add ? 1 : 0, format }
            const factors = { a: { ...a, scales: pa.offset }, b: { ...b, scales: pb.offset } }
            arena.run([
              card.dot8({ ...o, ...factors, c: add ? pc : null, d, to }),
              card.dot8({
                ...o,
                a: { ...a, scales: null },
                b: { ...b, scales: null },
                beta: 0,
                c: null,
                d: sums,
                to: 'f32',
              }),
              card.scaleSums({
                sums,
                a: pa.offset,
                b: pb.offset,
                c: add ? pc : null,
                d: e,
                rows: m,
                width: n,
                to,
              }),
            ])
            const want = Float64Array.from({ length: m * n }, (_, i) => {
              const [r, j] = [Math.floor(i / n), i % n]
              let s = 0
              for (let l = 0; l < k; l++)
                s += fromFloat8(format, x.data[r * k + l]!) * fromFloat8('e4m3', w.data[j * k + l]!)
              return s * sx.data[r]! * sw.data[j]! + (add ? c.data[i]! : 0)
            })
            close('with factors', arena.get(d), want, to)
            close('factors after', arena.get(e), want, to)
          }
    })
})
