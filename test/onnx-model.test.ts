/** Model files: what the builder writes is what onnxruntime reads, in place and without waste. */

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import * as E from 'fp-ts/lib/Either.js'

import { modelBuilder } from '../backends/onnx/model.ts'
import type { ModelBuilder } from '../backends/onnx/model.ts'
import { loadRuntime } from '../backends/onnx/session.ts'
import type { Runtime, Session, Tensor } from '../backends/onnx/session.ts'

const right = <A>(e: E.Either<unknown, A>): A => {
  if (E.isLeft(e)) assert.fail(JSON.stringify(e.left))
  return e.right
}

const runtime = async (): Promise<Runtime> => right(await loadRuntime())

const open = async (ort: Runtime, b: ModelBuilder): Promise<Session> =>
  right(await ort.open(b.encode(), { threads: 1 })())

const zeros = (ort: Runtime, shape: readonly number[]): Tensor =>
  ort.tensor('float32', shape, new Float32Array(shape.reduce((a, b) => a * b, 1)))

/** A model with attributes of each kind, constants, a second domain and several outputs. */
const sample = (): ModelBuilder => {
  const b = modelBuilder()
  const x = b.input('x', 'float32', [2, 4])
  b.input('unused', 'int32', [1])
  const two = b.constant('float32', [], Float32Array.of(2))
  const doubled = b.node('Mul', [x, two])[0]
  const [left, right] = b.node(
    'Split',
    [doubled],
    { axis: { int: 1 }, num_outputs: { int: 2 } },
    { outputs: 2 },
  )
  const product = b.node(
    'FusedMatMul',
    [left, right ?? ''],
    { transB: { int: 1 }, alpha: { float: 0.5 } },
    { domain: 'com.microsoft' },
  )[0]
  b.output('product', product, 'float32', [2, 2])
  b.output('turned', b.node('Transpose', [x], { perm: { ints: [1, 0] } })[0], 'float32', [4, 2])
  b.output('same', x, 'float32', [2, 4])
  b.output('again', product, 'float32', [2, 2])
  return b
}

test('onnxruntime computes what was built, into the memory it was given', async () => {
  const ort = await runtime()
  const session = await open(ort, sample())
  const fetches = {
    product: zeros(ort, [2, 2]),
    turned: zeros(ort, [4, 2]),
    same: zeros(ort, [2, 4]),
    again: zeros(ort, [2, 2]),
  }
  const memory = fetches.product.data
  const values = Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8)
  const x = ort.tensor('float32', [2, 4], values)
  const feeds = { x, unused: ort.tensor('int32', [1], Int32Array.of(0)) }
  right(await session.run(feeds, fetches)())
  assert.equal(fetches.product.data, memory)
  // 0.5 · (2·left) · (2·right)ᵀ with left = [[1,2],[5,6]], right = [[3,4],[7,8]]
  assert.deepEqual([...fetches.product.data], [22, 46, 78, 166])
  assert.deepEqual(fetches.again.data, fetches.product.data)
  assert.deepEqual([...fetches.turned.data], [1, 5, 2, 6, 3, 7, 4, 8])
  assert.deepEqual(fetches.same.data, values)
  values.fill(0)
  right(await session.run(feeds, fetches)())
  assert.deepEqual([...fetches.product.data], [0, 0, 0, 0])
  right(await session.close())
})

test('equal calls give equal bytes', () => {
  assert.deepEqual(sample().encode(), sample().encode())
})

test('equal nodes and constants are made once, unused ones not written', () => {
  const b = modelBuilder()
  const x = b.input('x', 'float32', [2])
  const one = b.constant('float32', [2], Float32Array.of(1, 1))
  assert.equal(b.constant('float32', [2], Float32Array.of(1, 1)), one)
  assert.notEqual(b.constant('float32', [1, 2], Float32Array.of(1, 1)), one)
  assert.notEqual(b.constant('int32', [2], Float32Array.of(1, 1)), one)
  const y = b.node('Add', [x, one])[0]
  assert.equal(b.node('Add', [x, one])[0], y)
  assert.notEqual(b.node('Add', [one, x])[0], y)
  assert.notEqual(b.node('Add', [x, one], {}, { salt: 'again' })[0], y)
  assert.notEqual(
    b.node('Softmax', [x], { axis: { int: 0 } })[0],
    b.node('Softmax', [x], { axis: { int: -1 } })[0],
  )
  b.output('y', y, 'float32', [2])
  const before = b.encode()
  b.node('Mul', [y, b.constant('float32', [], Float32Array.of(3))])
  assert.deepEqual(b.encode(), before)
})

test('every element type crosses the border unchanged', async () => {
  const ort = await runtime()
  const samples = {
    float32: Float32Array.of(-0, 1e-45, Infinity),
    float64: Float64Array.of(-0, 5e-324, 1e300),
    float16: Uint16Array.of(0x8000, 1, 0x7c00),
    uint8: Uint8Array.of(0, 127, 255),
    int8: Int8Array.of(-128, 0, 127),
    uint16: Uint16Array.of(0, 1, 65535),
    int16: Int16Array.of(-32768, 0, 32767),
    int32: Int32Array.of(-2147483648, 0, 2147483647),
    uint32: Uint32Array.of(0, 1, 4294967295),
    int64: BigInt64Array.of(-(2n ** 63n), 0n, 2n ** 63n - 1n),
    uint64: BigUint64Array.of(0n, 1n, 2n ** 64n - 1n),
    bool: Uint8Array.of(0, 1, 1),
  } as const
  for (const [name, data] of Object.entries(samples)) {
    const elemType = name as keyof typeof samples
    const b = modelBuilder()
    b.output('arg', b.input('x', elemType, [3]), elemType, [3])
    b.output('const', b.constant(elemType, [3], data), elemType, [3])
    const session = await open(ort, b)
    const blank = () => ort.tensor(elemType, [3], data.slice().reverse())
    const fetches = { arg: blank(), const: blank() }
    right(await session.run({ x: ort.tensor(elemType, [3], data) }, fetches)())
    assert.deepEqual(fetches.arg.data, data, name)
    assert.deepEqual(fetches.const.data, data, name)
    right(await session.close())
  }
})

test('casts to bfloat16 and back round to nearest, ties to even', async () => {
  const ort = await runtime()
  const n = 4096
  const b = modelBuilder()
  const narrow = b.node('Cast', [b.input('x', 'float32', [n])], { to: { int: 16 } })[0]
  b.output('y', b.node('Cast', [narrow], { to: { int: 1 } })[0], 'float32', [n])
  const session = await open(ort, b)
  const bits = fc.array(fc.nat(0xffffffff), { minLength: n, maxLength: n })
  await fc.assert(
    fc.asyncProperty(bits, async (values) => {
      // Half of the samples are ties or next to one.
      const x = Uint32Array.from(values, (v, i) =>
        i & 1 ? v : (v & 0xffff0000) + 0x7fff + (v % 3),
      )
      const y = new Float32Array(n)
      const feeds = { x: ort.tensor('float32', [n], new Float32Array(x.buffer)) }
      right(await session.run(feeds, { y: ort.tensor('float32', [n], y) })())
      y.forEach((got, i) =>
        assert.ok(Object.is(got, nearestBfloat16(x[i] ?? 0)), `0x${x[i]?.toString(16)}`),
      )
    }),
    { numRuns: 20 },
  )
  right(await session.close())
})

/** The nearer of the two neighbours that differ in the low half, the even one when equally near. */
const nearestBfloat16 = (bits: number): number => {
  const view = new DataView(new ArrayBuffer(4))
  const value = (b: number): number => (view.setUint32(0, b), view.getFloat32(0))
  const x = value(bits)
  const down = (bits & 0xffff0000) >>> 0
  if (!Number.isFinite(x) || bits === down) return x
  const up = down + 0x10000
  // Beyond the largest finite number the grid goes on as if infinity were the next power of two.
  const ceiling = Number.isFinite(value(up)) ? value(up) : Math.sign(x) * 2 ** 128
  const below = Math.abs(x - value(down))
  const above = Math.abs(ceiling - x)
  if (below === above) return value((down >>> 16) & 1 ? up : down)
  return value(below < above ? down : up)
}

test('refused models, wrong arguments and closed sessions are issues', async () => {
  const ort = await runtime()
  const broken = await ort.open(Uint8Array.of(1, 2, 3), { threads: 1 })()
  assert.ok(E.isLeft(broken) && /refuses/.test(broken.left.message))
  const b = modelBuilder()
  const x = b.input('x', 'float32', [2])
  b.output('y', b.node('NoSuchOperator', [x])[0], 'float32', [2])
  const unknown = await ort.open(b.encode(), { threads: 1 })()
  assert.ok(E.isLeft(unknown) && /NoSuchOperator/.test(unknown.left.message ?? ''))
  const session = await open(ort, sample())
  const missing = await session.run({}, { product: zeros(ort, [2, 2]) })()
  assert.ok(E.isLeft(missing) && /'x' is missing/.test(missing.left.message ?? ''))
  right(await session.close())
  assert.ok(E.isLeft(await session.run({}, {})()))
})
