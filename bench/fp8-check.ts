/**
 * What products of 8-bit floats this GPU's cuBLASLt runs, at which rates, and whether their numbers are right:  npx tsx bench/fp8-check.ts [rows, default 2048]
 * Shapes of Llama-2-7B; factors a row of both operands (scale mode OUTER_VEC_32F) into bf16, with and without a sum, and none with f32 sums.
 */
import * as E from 'fp-ts/lib/Either.js'
import { ownProduct, bindWork, type Device } from '../backends/cuda/bind.ts'
import { productAt } from '../backends/cuda/driver/product.ts'
import { open } from '../backends/cuda/index.ts'
import type { ProductLaunch } from '../backends/cuda/launch.ts'
import { product } from '../backends/cuda/lower/product.ts'
import { decode } from '../backends/bytes.ts'
import { fromFloat8, type Float8 } from '../ir/number.ts'
import { tensor } from '../ir/type.ts'
import { random } from '../src/profile/contents.ts'
import { median } from './random-model.ts'
import { right } from './right.ts'

const m = Number(process.argv[2] ?? 2048)
const shapes: ReadonlyArray<readonly [string, n: number, k: number]> = [
  ['q·k·v', 12288, 4096],
  ['o', 4096, 4096],
  ['gate·up', 22016, 4096],
  ['down', 4096, 11008],
  ['dx of gate·up', 4096, 22016],
  ['dx of q·k·v', 4096, 12288],
  ['dx of down', 11008, 4096],
]
const WIDEST = 22016
const MiB = 2 ** 20
const WORKSPACE = 64 * MiB

/** Where operands lie in the arena, one behind the other. */
const up = (n: number): number => Math.ceil(n / MiB) * MiB
const a = 0
const b = a + up(m * WIDEST)
const c = b + up(WIDEST * 4096)
const d = c + up(m * WIDEST * 2)
const sa = d + up(m * WIDEST * 4)
const at = { a, b, c, d, sa, sb: sa + MiB, end: sa + 2 * MiB }

const gpu = right(open())
const base = right(gpu.allocate(at.end))
const workspace = right(gpu.allocate(WORKSPACE))
const products = right(gpu.products({ address: workspace, bytes: WORKSPACE }))
const device: Device = { gpu, products, base }
console.log(`${gpu.info.name}, ${gpu.arch}, ${m} rows`)

/** Codes of finite numbers, of either sign, below a quarter of the largest exponent. */
const codes = Uint8Array.from(random(4 * MiB, 5), (x) => ((x >>> 8) & 0x80) | ((x >>> 16) % 0x58))
const fill = (offset: number, length: number): void => {
  for (let i = 0; i < length; i += codes.length)
    right(
      gpu.copyIn(base + BigInt(offset + i), codes.subarray(0, Math.min(codes.length, length - i))),
    )
}
fill(at.a, m * WIDEST)
fill(at.b, WIDEST * 4096)
const factor = (i: number): number => 2 ** -(12 + (i % 7))
const factors = new Uint8Array(
  Float32Array.from({ length: Math.max(m, WIDEST) }, (_, i) => factor(i)).buffer,
)
right(gpu.copyIn(base + BigInt(at.sa), factors))
right(gpu.copyIn(base + BigInt(at.sb), factors))
/** Small enough to add to. */
const some = new Uint8Array(m * WIDEST * 2).map((_, i) => (i % 2 === 0 ? i & 0xff : 0x3c))

interface Way {
  readonly name: string
  readonly left: Float8
  readonly rowFactors: boolean
  readonly sum: 'none' | 'C' | 'C = D'
}
const ways: ReadonlyArray<Way> = [
  { name: 'factors a row → bf16', left: 'e4m3', rowFactors: true, sum: 'none' },
  { name: 'factors a row + C → bf16', left: 'e4m3', rowFactors: true, sum: 'C' },
  { name: 'factors a row + D → bf16', left: 'e4m3', rowFactors: true, sum: 'C = D' },
  { name: 'e5m2 · e4m3, factors a row → bf16', left: 'e5m2', rowFactors: true, sum: 'none' },
  { name: 'no factors → f32', left: 'e4m3', rowFactors: false, sum: 'none' },
]

const launchOf = (w: Way, n: number, k: number): ProductLaunch => {
  const into = { offset: at.d, ld: n }
  const from = { offset: w.sum === 'C' ? at.c : at.d, ld: n }
  return product({
    a: { rows: { offset: at.a, ld: k }, dtype: w.left, ...(w.rowFactors ? { scales: at.sa } : {}) },
    b: {
      rows: { offset: at.b, ld: k },
      dtype: 'e4m3',
      t: true,
      ...(w.rowFactors ? { scales: at.sb } : {}),
    },
    d: { rows: into, dtype: w.rowFactors ? 'bf16' : 'f32' },
    ...(w.sum === 'none' ? {} : { c: from }),
    m,
    n,
    k,
  })
}

const written = (offset: number, l: ProductLaunch): Float64Array => {
  const type = tensor(l.d.dtype === 'f32' ? 'f32' : 'bf16', m, l.d.columns)
  const stored = new Uint8Array(m * l.d.columns * (l.d.dtype === 'f32' ? 4 : 2))
  right(gpu.copyOut(stored, base + BigInt(offset)))
  return Float64Array.from(decode(type, stored))
}

/** Largest error of some elements, beside the sum of their terms' sizes. */
const errorOf = (w: Way, l: ProductLaunch, n: number, k: number): number => {
  right(gpu.copyIn(base + BigInt(at.d), some))
  right(gpu.copyIn(base + BigInt(at.c), some))
  const before = w.sum === 'none' ? null : written(w.sum === 'C' ? at.c : at.d, l)
  right(right(bindWork(device, l))())
  right(gpu.synchronize())
  const after = written(at.d, l)
  const value = (f: Float8, offset: number): number => fromFloat8(f, codes[offset % codes.length]!)
  let worst = 0
  for (let s = 0; s < 200; s++) {
    const [i, j] = [(s * 7919) % m, (s * 104729) % n]
    let [sum, size] = [0, 0]
    for (let x = 0; x < k; x++) {
      const t = value(w.left, i * k + x) * value('e4m3', j * k + x)
      sum += t
      size += Math.abs(t)
    }
    const by = w.rowFactors ? factor(i) * factor(j) : 1
    const add = before === null ? 0 : before[i * n + j]!
    worst = Math.max(
      worst,
      Math.abs(after[i * n + j]! - (sum * by + add)) / (size * by + Math.abs(add)),
    )
  }
  return worst
}

const ROUNDS = 20
for (const w of ways) {
  console.log(w.name)
  for (const [name, n, k] of shapes) {
    const l = launchOf(w, n, k)
    const p = productAt(l, base)
    const plan = products.tune(p)
    const known = E.isRight(plan) && plan.right !== null
    const error = errorOf(w, l, n, k)
    if (!known) {
      const why = E.isLeft(plan) ? plan.left.message : 'NO ALGORITHM of cuBLASLt'
      console.log(
        `  ${name.padEnd(16)} ${why}; ${ownProduct(l).kernel.name} stands in, error ${error.toExponential(1)}`,
      )
      continue
    }
    const put = right(bindWork(device, l))
    const ms = right(gpu.times(Array.from({ length: ROUNDS }, () => put)))
    const t = median(ms.slice(5))
    console.log(
      `  ${name.padEnd(16)} ${m}x${n}x${k}  ${(t * 1e3).toFixed(1).padStart(7)} us  ${(l.flops / t / 1e9).toFixed(0).padStart(5)} TFLOP/s  error ${error.toExponential(1)} of the terms' sizes`,
    )
  }
}
right(gpu.close())
