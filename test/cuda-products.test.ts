/** Products over a fake cuBLASLt that computes column-major: row-major in, row-major out; choices measured and kept. */
import assert from 'node:assert/strict'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { test } from 'node:test'
import type { Workspace } from '../backends/cuda/driver/blaslt.ts'
import type { Gpu } from '../backends/cuda/driver/gpu.ts'
import { type Operand, type Product, productAt } from '../backends/cuda/driver/product.ts'
import type { Products } from '../backends/cuda/driver/products.ts'
import { calls, fake, gpuOf, missing } from './cuda-fake.ts'
import { right } from './right.ts'

const skip = missing ?? false

/** Small integers, exact in every format. */
const value = (seed: number, i: number, j: number): number => ((i * 7 + j * 5 + seed) % 9) - 4

const elements = (dtype: 'f32' | 'bf16', rows: number, ld: number, seed: number): Uint8Array => {
  const f = Float32Array.from({ length: rows * ld }, (_, x) =>
    value(seed, Math.floor(x / ld), x % ld),
  )
  if (dtype === 'f32') return new Uint8Array(f.buffer)
  const bits = new Uint32Array(f.buffer)
  return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer)
}

const operand = (
  gpu: Gpu,
  dtype: 'f32' | 'bf16',
  rows: number,
  columns: number,
  ld: number,
  seed: number,
): Operand => {
  const bytes = elements(dtype, rows, ld, seed)
  const address = right(gpu.allocate(bytes.length))
  right(gpu.copyIn(address, bytes))
  return { address, dtype, rows, columns, ld }
}

const opened = (cacheDir: string | null = null) => {
  const gpu = gpuOf({ cacheDir })
  const workspace: Workspace = { address: right(gpu.allocate(4096)), bytes: 4096 }
  return { gpu, products: right(gpu.products(workspace)) }
}

const run = (products: Products, p: Product) => {
  const plan = right(products.plan(p))
  assert.ok(plan !== null)
  right(products.multiply(plan, p))
  return plan
}

const [M, N, K] = [5, 3, 4]

for (const dtype of ['f32', 'bf16'] as const)
  for (const ta of [false, true])
    for (const tb of [false, true])
      for (const withC of ['no C', 'C = D', 'C ≠ D'] as const)
        test(
          `D = αAB + βC: ${dtype}${ta ? ' Aᵀ' : ''}${tb ? ' Bᵀ' : ''}, ${withC}`,
          { skip },
          () => {
            const { gpu, products } = opened()
            const a = ta ? operand(gpu, dtype, K, M, 7, 1) : operand(gpu, dtype, M, K, 6, 1)
            const b = tb ? operand(gpu, dtype, N, K, 8, 2) : operand(gpu, dtype, K, N, 9, 2)
            const d = operand(gpu, 'f32', M, N, 10, 3)
            const c =
              withC === 'no C' ? null : withC === 'C = D' ? d : operand(gpu, 'f32', M, N, 11, 4)
            const [alpha, beta] = [2, c === null ? 0 : 3]
            run(products, { a, b, c, d, ta, tb, alpha, beta })
            const expected = Float32Array.from({ length: M * 10 }, (_, x) => {
              const [i, j] = [Math.floor(x / 10), x % 10]
              if (j >= N) return value(3, i, j)
              let sum = 0
              for (let k = 0; k < K; k++)
                sum +=
                  (ta ? value(1, k, i) : value(1, i, k)) * (tb ? value(2, j, k) : value(2, k, j))
              return alpha * sum + beta * value(withC === 'C = D' ? 3 : 4, i, j)
            })
            const out = new Uint8Array(M * 40)
            right(gpu.copyOut(out, d.address))
            assert.deepEqual(new Float32Array(out.buffer), expected)
            right(gpu.close())
            assert.deepEqual([fake().live(), fake().blasLive()], [0, 0])
          },
        )

const plain = (gpu: Gpu, ld: number): Product => ({
  a: operand(gpu, 'f32', 4, 4, ld, 1),
  b: operand(gpu, 'f32', 4, 4, 4, 2),
  c: null,
  d: operand(gpu, 'f32', 4, 4, 4, 3),
  ta: false,
  tb: false,
  alpha: 1,
  beta: 0,
})

test('no algorithm is a finding, shapes that do not agree are an error', { skip }, () => {
  const { gpu, products } = opened()
  assert.equal(right(products.plan(plain(gpu, 13))), null)
  assert.equal(right(products.tune(plain(gpu, 13))), null)
  assert.equal(gpu.live().plans, 0)
  const p = plain(gpu, 4)
  for (const wrong of [
    { ...p, a: { ...p.a, columns: 3 } },
    { ...p, beta: 1 },
    { ...p, d: { ...p.d, ld: 3 } },
  ]) {
    const r = products.plan(wrong)
    assert.equal(r._tag === 'Left' && r.left.name, 'PRODUCT_SHAPES')
  }
  right(gpu.close())
  assert.equal(fake().blasLive(), 0)
})

test('a plan serves every address of its alignment, which cuBLASLt is told', { skip }, () => {
  const { gpu, products } = opened()
  const p = plain(gpu, 4)
  const plan = run(products, p)
  assert.equal(plan.candidates.length, 3, 'a proposal that is not good is left out')
  assert.equal(right(products.plan({ ...p, alpha: 5 })), plan)
  const moved = { ...p, b: { ...p.b, address: p.b.address + 16n } }
  assert.notEqual(right(products.plan(moved)), plan)
  assert.deepEqual(
    [0, 1, 2, 3].map((i) => fake().alignment(i)),
    [16, 256, 256, 256],
  )
  assert.equal(gpu.live().plans, 2)
  right(gpu.close())
})

test(
  'the fastest algorithm is chosen by time, kept, and taken unmeasured by the next session',
  { skip },
  () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-choices-'))
    const session = (tune: boolean) => {
      const { gpu, products } = opened(folder)
      const p = plain(gpu, 4)
      const before = Number(fake().matmuls())
      const plan = right(tune ? products.tune(p) : products.plan(p))!
      const measured = Number(fake().matmuls()) - before
      right(products.multiply(plan, p))
      const chosen = Number(fake().chosen())
      assert.deepEqual(gpu.notices(), [])
      right(gpu.close())
      return { measured, chosen }
    }
    const first = session(true)
    assert.ok(first.measured > 3 * 8)
    assert.equal(first.chosen, 2)
    assert.deepEqual(session(true), { measured: 0, chosen: 2 })
    assert.deepEqual(session(false), { measured: 0, chosen: 2 })
    const [name] = fs.readdirSync(folder)
    assert.equal(name, 'products-13.2.0-Fake-H100.json')
    fs.writeFileSync(path.join(folder, name!), '{"version": 1, "choices": {')
    assert.equal(session(false).chosen, 1, 'a broken file is as none')
    assert.equal(session(true).chosen, 2)
    fs.rmSync(folder, { recursive: true })
  },
)

test('a choice that this cuBLASLt does not accept is measured again and replaced', { skip }, () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'tunec-choices-'))
  const tuned = () => {
    const { gpu, products } = opened(folder)
    right(products.tune(plain(gpu, 4)))
    right(gpu.close())
  }
  tuned()
  const [name] = fs.readdirSync(folder)
  const file = path.join(folder, name!)
  const good = fs.readFileSync(file, 'utf8')
  fs.writeFileSync(file, good.replace(/"algorithm": "02/, '"algorithm": "63'))
  tuned()
  assert.match(fs.readFileSync(file, 'utf8'), /"algorithm": "02/)
  fs.rmSync(folder, { recursive: true })
})

test(
  "a launch's product at an arena's address; FP8 factors change places with their operands",
  { skip },
  () => {
    const m = { dtype: 'f32', rows: 2, columns: 2, ld: 2 } as const
    const p = productAt(
      {
        _tag: 'product',
        a: { ...m, offset: 256 },
        b: { ...m, offset: 512 },
        c: null,
        d: { ...m, offset: 1024 },
        ta: false,
        tb: true,
        alpha: 1,
        beta: 0,
        bytes: 0,
        flops: 0,
      },
      0x1000n,
    )
    assert.deepEqual([p.a.address, p.b.address, p.d.address], [0x1100n, 0x1200n, 0x1400n])
    const { gpu, products } = opened()
    const scaled = {
      ...p,
      a: { ...p.a, dtype: 'e4m3', scale: { address: 0xaaaan, per: 'row' } },
      b: { ...p.b, dtype: 'e4m3', scale: { address: 0xbbbbn, per: 'tensor' } },
    } as const
    const plan = right(products.plan(scaled))!
    assert.deepEqual(
      [0, 1, 2, 3].map((i) => Number(fake().setting(plan.desc, i))),
      [0xbbbb, 0xaaaa, 0, 3],
    )
    assert.equal(Number(fake().setting(plan.desc, 4)), 1)
    right(gpu.close())
    calls()
  },
)
