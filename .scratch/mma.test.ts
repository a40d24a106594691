import { test } from 'node:test'
import assert from 'node:assert/strict'
import { emulate } from '../test/cuda/emulate.ts'
import { lowRanks, lowGrads } from '../backends/cuda/kernels/lora-mma.ts'
import { encode, decode } from '../backends/bytes.ts'
import { tensor } from '../ir/type.ts'
for (const dtype of ['bf16', 'f16'] as const)
  for (const [rows, inner, rank] of [[21, 96, 8], [33, 64, 12], [16, 288, 24]] as const) {
    const put = (arena: Buffer, at: number, dt: 'bf16' | 'f16' | 'f32', n: number, f: (i: number) => number) => {
      const x = encode(tensor(dt, n), Float64Array.from({ length: n }, (_, i) => f(i)))
      arena.set(x, at)
      return decode(tensor(dt, n), x)
    }
    for (const byRows of [true, false])
    test(`low ranks ${dtype} ${rows}x${inner}x${rank} ${byRows}`, () => {
      const arena = Buffer.alloc(1 << 20)
      const ldx = inner + 64
      const x = put(arena, 0, dtype, rows * ldx, (i) => Math.sin(i * 1.7))
      const a = put(arena, 1 << 18, dtype, rank * inner, (i) => Math.cos(i * 2.3) / 8)
      emulate(arena, [lowRanks({ jobs: [{ x: { offset: 0, ld: ldx }, inner, small: 1 << 18, out: { offset: 1 << 19, ld: rank }, beside: { offset: 2 * inner, ld: ldx }, clear: 32 - rank }], byRows, rows, rank, by: 2, dtype })])
      const out = decode(tensor(dtype, rows * rank), Uint8Array.from(arena.subarray(1 << 19, (1 << 19) + 2 * rows * rank)))
      const xs = decode(tensor(dtype, rows * ldx), Uint8Array.from(arena.subarray(0, 2 * rows * ldx)))
      for (let r = 0; r < rows; r++) for (let j = 0; j < rank; j++) {
        let s = 0
        for (let c = 0; c < inner; c++) s += x[r * ldx + c]! * (byRows ? a[j * inner + c]! : a[c * rank + j]!)
        assert.ok(Math.abs(out[r * rank + j]! - 2 * s) < 2e-2 * (1 + Math.abs(2*s)), `${r} ${j} ${out[r * rank + j]} ${2 * s}`)
        assert.equal(xs[r * ldx + inner + j], out[r * rank + j])
      }
      for (let r = 0; r < rows; r++) for (let j = rank; j < 32; j++) assert.equal(xs[r * ldx + inner + j], 0)
    })
    if (rank % 8 === 0)
    for (const ranksFirst of [true, false])
    test(`grads ${dtype} ${rows} ${rank} ${ranksFirst}`, () => {
      const arena = Buffer.alloc(1 << 20)
      const T = rows * 9, columns = 128
      const w = put(arena, 0, dtype, T * 160, (i) => Math.sin(i * 1.7))
      const t = put(arena, 1 << 18, dtype, T * rank, (i) => Math.cos(i * 2.3) / 8)
      const g0 = put(arena, 1 << 19, 'f32', columns * rank, (i) => i % 7)
      emulate(arena, [lowGrads({ jobs: [{ wide: { offset: 0, ld: 160 }, columns, thin: { offset: 1 << 18, ld: rank }, grad: 1 << 19 }], rows: T, rank, ranksFirst, dtype })])
      const g = decode(tensor('f32', columns * rank), Uint8Array.from(arena.subarray(1 << 19, (1 << 19) + 4 * columns * rank)))
      for (let n = 0; n < columns; n++) for (let r = 0; r < rank; r++) {
        let s = 0
        for (let i = 0; i < T; i++) s += w[i * 160 + n]! * t[i * rank + r]!
        const at = ranksFirst ? r * columns + n : n * rank + r
        assert.ok(Math.abs(g[at]! - g0[at]! - s) < 1e-3, `${n} ${r} ${g[at]! - g0[at]!} ${s}`)
      }
    })
  }
