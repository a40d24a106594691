/** Low-rank products and gradients on emulated tensor cores, against sums in f64. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decode, encode } from '../backends/bytes.ts'
import { lowGrads, lowRanks } from '../backends/cuda/kernels/lora-mma.ts'
import { tensor, type Float } from '../ir/type.ts'
import { emulate, noCompiler } from './cuda/emulate.ts'

const [SMALL, OUT] = [2 ** 18, 2 ** 19]
const memory = (): Buffer => Buffer.alloc(2 ** 20)

const put = (arena: Buffer, at: number, dtype: Float, n: number, f: (i: number) => number) => {
  const stored = encode(
    tensor(dtype, n),
    Float64Array.from({ length: n }, (_, i) => f(i)),
  )
  arena.set(stored, at)
  return decode(tensor(dtype, n), stored)
}
const get = (arena: Buffer, at: number, dtype: Float, n: number): Float64Array =>
  decode(tensor(dtype, n), Uint8Array.from(arena.subarray(at, at + n * (dtype === 'f32' ? 4 : 2))))

const shapes = [
  [21, 96, 8],
  [33, 64, 12],
  [16, 288, 24],
] as const

for (const dtype of ['bf16', 'f16'] as const)
  for (const [rows, inner, rank] of shapes) {
    for (const byRows of [true, false])
      test(
        `${byRows ? 'x·Aᵀ' : 'dy·B'} in ${dtype}: ${rows} × ${inner}, rank ${rank}`,
        { skip: noCompiler },
        () => {
          const [arena, ld] = [memory(), inner + 64]
          const x = put(arena, 0, dtype, rows * ld, (i) => Math.sin(i * 1.7))
          const a = put(arena, SMALL, dtype, rank * inner, (i) => Math.cos(i * 2.3) / 8)
          const job = {
            x: { offset: 0, ld },
            inner,
            small: SMALL,
            out: { offset: OUT, ld: rank },
            beside: { offset: 2 * inner, ld },
            clear: 32 - rank,
          }
          emulate(arena, [lowRanks({ jobs: [job], byRows, rows, rank, by: 2, dtype })])
          const out = get(arena, OUT, dtype, rows * rank)
          const beside = get(arena, 0, dtype, rows * ld)
          for (let r = 0; r < rows; r++)
            for (let j = 0; j < 32; j++) {
              const got = j < rank ? out[r * rank + j]! : 0
              assert.equal(beside[r * ld + inner + j], got)
              if (j >= rank) continue
              let want = 0
              for (let c = 0; c < inner; c++)
                want += 2 * x[r * ld + c]! * (byRows ? a[j * inner + c]! : a[c * rank + j]!)
              assert.ok(Math.abs(got - want) < 1e-2 * (1 + Math.abs(want)), `${r} ${j}`)
            }
        },
      )
    if (rank % 8 !== 0) continue
    for (const ranksFirst of [true, false])
      test(
        `gradient of ${ranksFirst ? 'A' : 'B'} in ${dtype}: ${9 * rows} tokens, rank ${rank}`,
        { skip: noCompiler },
        () => {
          const [arena, tokens, columns, ld] = [memory(), 9 * rows, 128, 160]
          const wide = put(arena, 0, dtype, tokens * ld, (i) => Math.sin(i * 1.7))
          const thin = put(arena, SMALL, dtype, tokens * rank, (i) => Math.cos(i * 2.3) / 8)
          const before = put(arena, OUT, 'f32', columns * rank, (i) => i % 7)
          const job = {
            wide: { offset: 0, ld },
            columns,
            thin: { offset: SMALL, ld: rank },
            grad: OUT,
          }
          emulate(arena, [lowGrads({ jobs: [job], rows: tokens, rank, ranksFirst, dtype })])
          const grad = get(arena, OUT, 'f32', columns * rank)
          for (let n = 0; n < columns; n++)
            for (let r = 0; r < rank; r++) {
              const at = ranksFirst ? r * columns + n : n * rank + r
              let want = before[at]!
              for (let t = 0; t < tokens; t++) want += wide[t * ld + n]! * thin[t * rank + r]!
              assert.ok(Math.abs(grad[at]! - want) < 1e-3, `${n} ${r}`)
            }
        },
      )
  }
