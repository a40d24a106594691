/** A session on TensorFlow: what it takes it gives back, what it is handed it does not touch, and its memory shows in tf.memory(). */
import './tfjs-cpu.ts'
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { sessionOn, tfjs, tfjsOn } from '../backends/tfjs/index.ts'
import { load, loadTf, type Host } from '../backends/tfjs/load.ts'
import { openSession } from '../backends/tfjs/session.ts'
import { DT, type Tf } from '../backends/tfjs/tf.ts'
import { builder, building } from '../ir/build.ts'
import type { Program, State } from '../ir/graph.ts'
import { bytes, tensor, type DType } from '../ir/type.ts'
import { packedBatch, trained } from './conformance.ts'
import { right } from './right.ts'
import { noTfjs } from './tfjs-here.ts'

const skip = noTfjs

const host = (): Host => right(load())
const ids = (): number => host().backend.binding.getNumOfTensors()
const memory = (): { numTensors: number; numBytes: number } =>
  (host().engine as unknown as { memory: () => { numTensors: number; numBytes: number } }).memory()

const state = (dtype: DType, ...shape: ReadonlyArray<number>): State => ({
  name: `s ${dtype} ${shape.join()}`,
  type: tensor(dtype, ...shape),
  role: 'frozen',
  recipe: { _tag: 'fill', value: 0 },
})

/** x + y kept as x, and the sum given. */
const counter = (): Program => {
  const x: State = { ...state('f32', 3), name: 'x', role: 'train' }
  const fn = right(
    building(() => {
      const b = builder()
      const sum = b.alg.add(b.read(x), b.input('y', tensor('f32', 3)))
      return b.done({
        name: 'step',
        outs: [{ name: 'sum', id: sum }],
        updates: [{ state: 'x', id: sum }],
      })
    }),
  )
  return { name: 'counter', state: [x], fns: [fn] }
}

test('bytes of every dtype come back as they were written, odd counts too', { skip }, async () => {
  const all = (['f32', 'f16', 'bf16', 'i32', 'i8', 'u8', 'nf4/64', 'nf4/16/8'] as const).flatMap(
    (d) => [state(d, 5), state(d, 3, 7), state(d)],
  )
  const session = right(await tfjs.prepare({ name: 'bytes', state: all, fns: [] })())
  for (const s of all) {
    // Every pattern of bits, signalling NaNs among them. Gaps between parts are nobody's.
    const given = Uint8Array.from({ length: bytes(s.type) }, (_, i) => (i * 37 + 129) & 255)
    right(await session.write(s.name, given)())
    const got = right(await session.read(s.name)())
    assert.equal(got.length, given.length)
    if (!s.type.dtype.startsWith('nf4')) assert.deepEqual(got, given, s.name)
  }
  right(await session.close()())
})

test(
  'ids are back at what they were, after steps, errors and a close that comes twice',
  { skip },
  async () => {
    const before = { ids: ids(), ...memory() }
    const session = right(await tfjs.prepare(trained('f16', { _tag: 'layers' }))())
    assert.ok(ids() > before.ids)
    assert.equal(E.isLeft(await session.run('micro', {})()), true)
    assert.equal(E.isLeft(await session.run('nothing', {})()), true)
    assert.equal(E.isLeft(await session.write('nothing', new Uint8Array(1))()), true)
    right(await session.close()())
    right(await session.close()())
    const counted = right(await tfjs.prepare(counter())())
    const y = Float32Array.of(1, 2, 3)
    const first = ids()
    for (let i = 1; i <= 3; i++) {
      const { sum } = right(await counted.run('step', { y })())
      assert.deepEqual([...sum!], [i, 2 * i, 3 * i])
      assert.equal(ids(), first)
    }
    y.fill(9)
    assert.deepEqual([...new Float32Array(right(await counted.read('x')()).buffer)], [3, 6, 9])
    right(await counted.close()())
    assert.deepEqual({ ids: ids(), ...memory() }, before)
  },
)

test(
  'an op that TensorFlow refuses is an error with the function, and leaves nothing behind',
  { skip },
  async () => {
    const { engine, backend, plugin } = host()
    let works = true
    const executeOp: typeof backend.binding.executeOp = (...args) => {
      if (!works) throw new Error('no such kernel')
      return backend.binding.executeOp(...args)
    }
    const binding = { value: Object.create(backend.binding, { executeOp: { value: executeOp } }) }
    const session = openSession(
      { engine, plugin, backend: Object.create(backend, { binding }) },
      counter(),
    )
    const first = ids()
    works = false
    const failed = await session.run('step', { y: new Float32Array(3) })()
    works = true
    assert.ok(E.isLeft(failed))
    assert.match(failed.left.message, /^@step add: no such kernel$/)
    assert.equal(ids(), first)
    right(await session.run('step', { y: new Float32Array(3) })())
    right(await session.close()())
  },
)

test("a session on the caller's tf shows its bytes in tf.memory()", { skip }, async () => {
  const tf: Tf = { engine: () => host().engine }
  const before = memory().numBytes
  const all = [state('f32', 100), state('bf16', 100), state('nf4/64', 128)]
  const session = right(await tfjsOn(tf).prepare({ name: 'm', state: all, fns: [] })())
  assert.equal(memory().numBytes - before, 400 + 200 + 64 + 8)
  right(await session.close()())
  assert.equal(memory().numBytes, before)
})

test(
  'tensors go in and come out: a step as it is with arrays, and what does not fit is named',
  { skip },
  async () => {
    const tf = right(loadTf())
    const { backend } = host()
    const tensorOf = (
      shape: ReadonlyArray<number>,
      dtype: number,
      data: Float32Array | Int32Array,
    ) =>
      backend.createOutputTensor({
        id: backend.binding.createTensor(shape, dtype, data),
        dtype,
        shape,
      })
    const p = trained('f32', { _tag: 'none' })
    const before = [ids(), memory().numTensors]
    const session = right(sessionOn(tf, p))
    const { inputs } = p.fns.find((f) => f.name === 'micro')!
    const feeds = packedBatch(0)
    const given = Object.fromEntries(
      inputs.map(({ name, type }) => [
        name,
        tensorOf(type.shape, type.dtype === 'i32' ? DT.i32 : DT.f32, feeds[name]!.slice()),
      ]),
    )
    const { loss } = right(session.call('micro', given))
    assert.deepEqual(loss!.shape, [])
    assert.deepEqual(loss!.dataSync(), right(await session.run('micro', feeds)())['loss'])
    const weight = p.state.find((x) => x.role === 'train')!
    const whole = right(session.tensor(weight.name))
    assert.deepEqual(whole.shape, weight.type.shape)
    const stored = right(await session.read(weight.name)())
    assert.deepEqual(new Uint8Array(whole.dataSync().buffer), stored)
    const encoded = session.tensor(p.state.find((x) => x.type.dtype.startsWith('nf4'))!.name)
    assert.match(E.isLeft(encoded) ? encoded.left.message : '', /is nf4.*no dtype of tfjs's/)
    const wrong = session.call('micro', { ...given, tokens: given['inverse_count']! })
    assert.ok(E.isLeft(wrong))
    assert.match(wrong.left.message, /%tokens is i32\[2, 8\], got float32 \[\]/)
    for (const t of [whole, loss!, ...Object.values(given)]) t.dispose()
    right(await session.close()())
    const closed = session.tensor(weight.name)
    assert.equal(E.isLeft(closed) ? closed.left.message : '', 'the session is closed')
    assert.deepEqual([ids(), memory().numTensors], before)
  },
)

test('1,000 steps of a model take no memory', { skip }, async () => {
  const session = right(await tfjs.prepare(trained('f32', { _tag: 'none' }))())
  const update = { lr: Float32Array.of(1e-3), step: Float32Array.of(1) }
  const steps = async (count: number) => {
    for (let i = 0; i < count; i++) {
      right(await session.run('micro', packedBatch(i % 2))())
      right(await session.run('update', update)())
    }
  }
  await steps(100)
  const [first, held] = [ids(), process.memoryUsage().rss]
  await steps(1000)
  assert.equal(ids(), first)
  const grown = (process.memoryUsage().rss - held) / 2 ** 20
  assert.ok(grown < 64, `${grown} MiB`)
  right(await session.close()())
})
