import * as E from 'fp-ts/lib/Either.js'
import { open } from '../backends/cuda/index.ts'
const right = <T>(e: E.Either<any, T>): T => { if (E.isLeft(e)) throw new Error(JSON.stringify(e.left)); return e.right }
const gpu = right(open())
const ws = right(gpu.allocate(64 << 20))
const products = right(gpu.products({ address: ws, bytes: 64 << 20 }))
const dec = (b: number) => { const s = b & 128 ? -1 : 1, e = (b >> 3) & 15, m = b & 7; return s * (e === 0 ? m / 8 * 2 ** -6 : (1 + m / 8) * 2 ** (e - 7)) }
const dec5 = (b: number) => { const s = b & 128 ? -1 : 1, e = (b >> 2) & 31, m = b & 3; return s * (e === 0 ? m / 4 * 2 ** -14 : (1 + m / 4) * 2 ** (e - 15)) }
for (const [m, n, k] of [[2048, 12288, 4096], [2048, 22016, 4096], [2048, 4096, 11008], [8192, 22016, 4096]] as const)
for (const [mode, at] of [['row', 'e4m3'], ['tensor', 'e4m3'], ['row', 'e5m2']] as const) {
  const A = new Uint8Array(m * k), B = new Uint8Array(n * k)
  for (let i = 0; i < A.length; i++) { const x = (Math.imul(i, 2654435761) >>> 9) & 255; A[i] = (x & 127) >= 0x78 ? x & 0xb7 : x }
  for (let i = 0; i < B.length; i++) { const x = (Math.imul(i, 2246822519) >>> 7) & 255; B[i] = (x & 127) >= 0x78 ? x & 0xb7 : x }
  const sa = Float32Array.from({ length: mode === 'row' ? m : 1 }, (_, i) => 0.001 * (1 + (i % 7)))
  const sb = Float32Array.from({ length: mode === 'row' ? n : 1 }, (_, i) => 0.002 * (1 + (i % 5)))
  const up = (x: Uint8Array) => { const a = right(gpu.allocate(x.byteLength)); right(gpu.copyIn(a, x)); return a }
  const [a, b, pa, pb] = [up(A), up(B), up(new Uint8Array(sa.buffer)), up(new Uint8Array(sb.buffer))]
  const d = right(gpu.allocate(m * n * 2))
  const p = {
    a: { address: a, dtype: at, rows: m, columns: k, ld: k, scale: { address: pa, per: mode } },
    b: { address: b, dtype: 'e4m3' as const, rows: n, columns: k, ld: k, scale: { address: pb, per: mode } },
    c: null, d: { address: d, dtype: 'bf16' as const, rows: m, columns: n, ld: n }, ta: false, tb: true, alpha: 1, beta: 0 }
  const plan = products.tune(p as never)
  if (E.isLeft(plan) || plan.right === null) { console.log(m, n, k, mode, at, 'no plan', JSON.stringify(E.isLeft(plan) ? plan.left : null)) }
  else {
    const t = right(gpu.time(() => { for (let i = 0; i < 20; i++) right(products.multiply(plan.right!, p as never)); return E.right(undefined) })) / 20
    const out = new Uint8Array(m * n * 2); right(gpu.copyOut(out, d))
    const h = new Uint16Array(out.buffer)
    let worst = 0
    for (let q = 0; q < 50; q++) {
      const i = (q * 131) % m, j = (q * 977) % n
      let s = 0, mag = 0
      for (let l = 0; l < k; l++) { const x = (at === 'e5m2' ? dec5 : dec)(A[i * k + l]!), y = dec(B[j * k + l]!); s += x * y; mag += Math.abs(x * y) }
      const sc = sa[mode === 'row' ? i : 0]! * sb[mode === 'row' ? j : 0]!
      const got = new Float32Array(new Uint32Array([h[i * n + j]! << 16]).buffer)[0]!
      worst = Math.max(worst, Math.abs(got - s * sc) / (mag * sc))
    }
    console.log(m, n, k, mode, at, 'us', (t * 1e3).toFixed(1), 'TFLOP/s', (2 * m * n * k / t / 1e9).toFixed(0), 'error relative to magnitude', worst.toExponential(2))
  }
  for (const x of [a, b, pa, pb, d]) right(gpu.free(x))
}
right(gpu.close())
