/** TensorFlow on a GPU: the device is listed, everything of ours runs on it, and a thousand steps take nothing. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { roomOf } from '../backends/cuda/driver/memory.ts'
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

test('TensorFlow lists the GPU and tfjs uses it', { skip }, () => {
  assert.equal(host().backend.isUsingGpuDevice, true)
  assert.ok(devicesOf().some((d) => d.type === 'GPU' && d.name.endsWith('/device:GPU:0')))
})

if (skip === false) tfjsOpsSuite('a GPU', () => opsOn(right(loadTf())))

test('1,000 steps: a launch each, no copy, no memory of device or host', { skip }, async () => {
  const { backend, plugin, engine } = host()
  const s = right(openInside(host(), plugin!, trained('bf16', { _tag: 'none' })))
  const held = () => [
    backend.binding.getNumOfTensors(),
    (engine as unknown as { memory: () => { numBytes: number } }).memory().numBytes,
    right(roomOf(plugin!.driver)).free,
  ]
  const update = { lr: Float32Array.of(1e-3), step: Float32Array.of(1) }
  const steps = async (count: number) => {
    for (let i = 0; i < count; i++) {
      right(await s.run('micro', packedBatch(i % 2))())
      right(await s.run('update', update)())
    }
  }
  await steps(100)
  const [first, rss, counts] = [held(), process.memoryUsage().rss, plugin!.counts()]
  await steps(1000)
  assert.deepEqual(held(), first)
  assert.deepEqual(plugin!.counts(), { ...counts, launches: counts.launches + 2000 })
  const grown = (process.memoryUsage().rss - rss) / 2 ** 20
  assert.ok(grown < 64, `${grown} MiB`)
  right(await s.close()())
})
