/** TensorFlow on a GPU: the device is listed, everything of ours runs on it, and a thousand steps take nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as E from 'fp-ts/lib/Either.js'
import { roomOf } from '../backends/cuda/driver/memory.ts'
import { tfHost } from '../backends/tfjs/device.ts'
import { openInside } from '../backends/tfjs/inside.ts'
import { load, loadTf } from '../backends/tfjs/load.ts'
import { opsOn } from '../src/tfjs/index.ts'
import { packedBatch, trained } from './conformance.ts'
import { noGpu } from './cuda-here.ts'
import { right } from './right.ts'
import { devicesOf } from './tfjs-devices.ts'
import { noTfjs } from './tfjs-here.ts'
import { tfjsOpsSuite } from './tfjs-ops.ts'

const skip = noGpu || noTfjs
const host = () => right(load())
const plugin = () => host().plugin!
const ids = (): number => host().backend.binding.getNumOfTensors()
const bytesHeld = (): number =>
  (host().engine as unknown as { memory: () => { numBytes: number } }).memory().numBytes
const free = (): number => right(roomOf(plugin().driver)).free

test('TensorFlow lists the GPU and tfjs uses it', { skip }, () => {
  assert.equal(host().backend.isUsingGpuDevice, true)
  assert.ok(devicesOf().some((d) => d.type === 'GPU' && d.name.endsWith('/device:GPU:0')))
})

if (skip === false) {
  const ops = opsOn(right(loadTf()))
  tfjsOpsSuite('a GPU', () => ops)
  test('a GPU: every op was a launch on the device, and what it keeps is given back', () => {
    assert.ok(plugin().counts().launches > 20)
    const before = ids()
    ops.close()
    assert.ok(ids() < before)
  })
}

test(
  '1,000 steps: a launch each, no copy, no memory; a session that closes gives its own back to the driver',
  { skip },
  async () => {
    right(right(tfHost(host(), plugin())).close())
    const untouched = [ids(), bytesHeld()]
    const session = () => right(openInside(host(), plugin(), trained('bf16', { _tag: 'none' })))
    const update = { lr: Float32Array.of(1e-3), step: Float32Array.of(1) }
    const steps = async (s: ReturnType<typeof session>, count: number) => {
      for (let i = 0; i < count; i++) {
        right(await s.run('micro', packedBatch(i % 2))())
        right(await s.run('update', update)())
      }
    }
    const held = () => [ids(), bytesHeld(), free()]
    // The first session loads what stays with the context: modules, the libraries' own memory.
    const warm = session()
    await steps(warm, 1)
    right(await warm.close()())
    const before = free()
    const s = session()
    await steps(s, 100)
    const [first, rss, counts] = [held(), process.memoryUsage().rss, plugin().counts()]
    await steps(s, 1000)
    assert.deepEqual(held(), first)
    assert.deepEqual(plugin().counts(), { ...counts, launches: counts.launches + 2000 })
    const grown = (process.memoryUsage().rss - rss) / 2 ** 20
    assert.ok(grown < 64, `${grown} MiB`)
    const weight = trained('bf16', { _tag: 'none' }).state.find((x) => x.role === 'train')!
    const whole = right(s.tensor(weight.name))
    const stored = right(await s.read(weight.name)())
    assert.deepEqual(new Uint8Array(whole.dataSync().slice().buffer), stored)
    whole.dispose()
    assert.ok(free() < before)
    right(await s.close()())
    assert.deepEqual([ids(), bytesHeld()], untouched)
    assert.ok(before - free() < 2 ** 23, `${before - free()} bytes are gone`)
  },
)

test('memory that is not there is an error, and the process lives', { skip }, () => {
  const tf = right(tfHost(host(), plugin()))
  const lacking = tf.allocate(2 ** 40)
  assert.equal(E.isLeft(lacking) ? lacking.left.name : 'had', 'CUDA_ERROR_OUT_OF_MEMORY')
  right(tf.allocate(2 ** 20))
  right(tf.close())
})
