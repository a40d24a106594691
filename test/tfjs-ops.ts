/** Functions on tf.Tensor against tfjs's own arithmetic: values, gradients through tf.grads, and what is left behind. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { load, loadTf } from '../backends/tfjs/load.ts'
import { codebook } from '../ir/nf4.ts'
import type { Ops, Tensor } from '../src/tfjs/index.ts'
import { relativeError } from './golden.ts'
import { right } from './right.ts'

type T = Tensor & {
  readonly mul: (x: T | number) => T
  readonly add: (x: T | number) => T
  readonly sub: (x: T | number) => T
  readonly div: (x: T | number) => T
  readonly square: () => T
  readonly sqrt: () => T
  readonly sum: () => T
  readonly mean: (axis: number, keep: boolean) => T
  readonly reshape: (shape: ReadonlyArray<number>) => T
  readonly transpose: (order: ReadonlyArray<number>) => T
  readonly matMul: (x: T, ta?: boolean, tb?: boolean) => T
  readonly slice: (from: ReadonlyArray<number>, size: ReadonlyArray<number>) => T
}
interface Own {
  readonly tensor: (x: ArrayLike<number>, shape: ReadonlyArray<number>, dtype?: string) => T
  readonly randomNormal: (
    shape: ReadonlyArray<number>,
    m: number,
    s: number,
    d: string,
    seed: number,
  ) => T
  readonly grads: (f: (...xs: ReadonlyArray<T>) => T) => (xs: ReadonlyArray<T>) => ReadonlyArray<T>
  readonly tidy: <R>(f: () => R) => R
  readonly concat: (xs: ReadonlyArray<T>, axis: number) => T
  readonly softmax: (x: T) => T
  readonly memory: () => { numTensors: number; numBytes: number }
}

/** What the suite runs on, asked for when a test runs. */
let ops: () => Ops
const own = (): Own => right(loadTf()) as unknown as Own
const ids = (): number => right(load()).backend.binding.getNumOfTensors()
const random = (seed: number, ...shape: ReadonlyArray<number>): T =>
  own().randomNormal(shape, 0, 1, 'float32', seed)

/** Values and every gradient of two functions on the same arguments; nothing is left of either. */
const agree = (
  args: ReadonlyArray<T>,
  mine: (...xs: ReadonlyArray<T>) => T,
  theirs: (...xs: ReadonlyArray<T>) => T,
): void => {
  const tf = own()
  const once = () =>
    tf.tidy(() => {
      const [a, b] = [mine(...args), theirs(...args)]
      assert.deepEqual(a.shape, b.shape)
      assert.ok(relativeError(a.dataSync(), b.dataSync()) < 1e-5)
      const weights = random(99, ...a.shape)
      const slope = (f: typeof mine) =>
        tf.grads((...xs) =>
          f(...xs)
            .mul(weights)
            .sum(),
        )(args)
      const [ga, gb] = [slope(mine), slope(theirs)]
      ga.forEach((g, i) =>
        assert.ok(relativeError(g.dataSync(), gb[i]!.dataSync()) < 2e-5, `gradient ${i}`),
      )
    })
  // The first time sends to TensorFlow what the test itself keeps.
  once()
  const before = [ids(), tf.memory().numTensors]
  once()
  assert.deepEqual([ids(), tf.memory().numTensors], before)
}

export const tfjsOpsSuite = (name: string, made: () => Ops): void => {
  ops = made
  test(`${name}: rmsNorm`, () => {
    const [x, w] = [random(1, 2, 3, 8), random(2, 8)]
    agree(
      [x, w],
      (a, b) => ops().rmsNorm(a!, b!, 1e-5),
      (a, b) => a!.div(a!.square().mean(2, true).add(1e-5).sqrt()).mul(b!),
    )
    assert.throws(() => ops().rmsNorm(x, random(3, 5)), /rmsNorm/)
  })

  test(`${name}: rotary, against turning each pair by hand`, () => {
    const [rows, t, heads, d] = [2, 5, 3, 4]
    const x = random(4, rows, t, heads * d)
    const at = Int32Array.from({ length: rows * t }, (_, i) => (i * 3) % 7)
    const positions = own().tensor(at, [rows, t], 'int32')
    const table = (f: (a: number) => number) =>
      own().tensor(
        Float32Array.from({ length: rows * t * (d / 2) }, (_, i) =>
          f(at[Math.floor(i / 2)]! * 100 ** ((-2 * (i % 2)) / d)),
        ),
        [rows * t, 1, d / 2],
      )
    const [cos, sin] = [table(Math.cos), table(Math.sin)]
    agree(
      [x],
      (a) => ops().rotary(a!, positions, { headDim: d, theta: 100 }),
      (a) => {
        const h = a!.reshape([rows * t, heads, d])
        const [u, v] = [0, d / 2].map((from) => h.slice([0, 0, from], [-1, -1, d / 2])) as [T, T]
        return own()
          .concat([u.mul(cos).sub(v.mul(sin)), v.mul(cos).add(u.mul(sin))], 2)
          .reshape([rows, t, heads * d])
      },
    )
  })

  test(`${name}: attention, grouped heads and segments`, () => {
    const [rows, t, heads, kv, d] = [2, 6, 4, 2, 3]
    const [q, k, v] = [
      random(5, rows, t, heads * d),
      random(6, rows, t, kv * d),
      random(7, rows, t, kv * d),
    ]
    const seg = Int32Array.from({ length: rows * t }, (_, i) =>
      Number(i % t >= 2 + Math.floor(i / t)),
    )
    const hidden = (whole: boolean) =>
      own().tensor(
        Float32Array.from({ length: rows * t * t }, (_, i) => {
          const [r, a, b] = [Math.floor(i / t / t), Math.floor(i / t) % t, i % t]
          return b <= a && (whole || seg[r * t + a] === seg[r * t + b]) ? 0 : -1e9
        }),
        [rows, 1, t, t],
      )
    const split = (x: T, n: number) => x.reshape([rows, t, n, d]).transpose([0, 2, 1, 3])
    const shared = (x: T) =>
      own().concat(
        [0, 1].flatMap((h) => [h, h].map((i) => split(x, kv).slice([0, i, 0, 0], [-1, 1, -1, -1]))),
        1,
      )
    const theirs =
      (mask: T) =>
      (...[a, b, c]: ReadonlyArray<T>): T => {
        const scores = split(a!, heads).matMul(shared(b!), false, true).div(Math.sqrt(d)).add(mask)
        return own()
          .softmax(scores)
          .matMul(shared(c!))
          .transpose([0, 2, 1, 3])
          .reshape([rows, t, heads * d])
      }
    const segments = own().tensor(seg, [rows, t], 'int32')
    const o = { heads, kvHeads: kv }
    agree(
      [q, k, v],
      (a, b, c) => ops().attention(a!, b!, c!, { ...o, segments }),
      theirs(hidden(false)),
    )
    agree([q, k, v], (a, b, c) => ops().attention(a!, b!, c!, o), theirs(hidden(true)))
    assert.throws(
      () => ops().attention(q.reshape([rows * t, heads * d]), k, v, o),
      /takes tensors \[rows, T/,
    )
  })

  test(`${name}: NF4: a weight is its codes and scales, products and gradients are of the rounded weight`, () => {
    const tf = own()
    const w = random(8, 24, 40)
    for (const nested of [null, 256] as const) {
      const before = tf.memory().numBytes
      const q = ops().quantize(w, { nested })
      assert.equal(tf.memory().numBytes - before, q.byteSize)
      const wide = ops().dequantize(q) as T
      assert.ok(relativeError(wide.dataSync(), w.dataSync()) < 0.12)
      // Within each block of 64 the ratios are those of the codebook.
      const first = Array.from(wide.dataSync().subarray(0, 64))
      const top = first.reduce((m, x) => Math.max(m, Math.abs(x)), 0)
      if (nested === null)
        for (const x of first) assert.ok(codebook.some((c) => Math.abs(c - x / top) < 1e-6))
      agree(
        [random(9, 2, 3, 40)],
        (x) => ops().matMul(x!, q),
        (x) => x!.reshape([6, 40]).matMul(wide, false, true).reshape([2, 3, 24]),
      )
      const again = ops().restore(q.shape, q.bytes(), { nested })
      const same = ops().dequantize(again)
      assert.deepEqual(same.dataSync(), wide.dataSync())
      for (const x of [q, again, wide, same]) x.dispose()
    }
    assert.throws(() => ops().restore([24, 40], new Uint8Array(3)), /bytes expected/)
    assert.throws(() => ops().quantize(own().tensor([1], [1], 'int32')), /float32/)
    w.dispose()
  })
}
