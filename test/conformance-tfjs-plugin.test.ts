/** Compiled plans inside TensorFlow, without a GPU: the arena is a tensor of the plugin's device, each function an op that launches its graph. The kernels are those of conformance-cuda-emulated, which tries them further. */
import { test } from 'node:test'
import { exampleSuite, modelSuite } from './conformance.ts'
import { noPlugin, onHostMemory } from './tfjs-plugin.ts'

if (noPlugin === false) {
  exampleSuite(onHostMemory)
  modelSuite(onHostMemory, ['f32', 'bf16'])
} else test('conformance of the tfjs plugin', { skip: noPlugin }, () => {})
