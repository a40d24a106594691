/** The functions on a GPU's tensors, without a GPU: each a compiled plan of one equation on the plugin's device. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { onDevice } from '../backends/tfjs/device-ops.ts'
import { loadTf } from '../backends/tfjs/load.ts'
import { opsOver } from '../src/tfjs/ops.ts'
import { right } from './right.ts'
import { tfjsOpsSuite } from './tfjs-ops.ts'
import { compiledOnHostMemory, fakeHost, noPlugin } from './tfjs-plugin.ts'

const ops = () => {
  const device = onDevice(fakeHost(), compiledOnHostMemory)
  return opsOver(right(loadTf()), fakeHost(), device.run, device.close)
}

if (noPlugin === false) {
  fakeHost()
  const shared = ops()
  const { binding } = fakeHost().backend
  const first = binding.getNumOfTensors()
  tfjsOpsSuite('the plugin', () => shared)
  test('the plugin: every op was a launch on the device, and what it keeps is given back', () => {
    assert.ok(fakeHost().plugin!.counts().launches > 20)
    const before = binding.getNumOfTensors()
    shared.close()
    assert.ok(before > first)
    assert.ok(binding.getNumOfTensors() < before)
  })
} else test('functions on the tfjs plugin', { skip: noPlugin }, () => {})
